"""An ETL flow of your own around the package's tasks: from a warehouse to Ruddr, and checked.

`python examples/stage_etl.py` runs it. The warehouse is an SQLite file and Ruddr a local
sandbox, both made here; a flow against the real ones differs in `main` alone.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prefect import flow, task, unmapped
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import SecretStr

from prefect_ruddr import (
    RuddrCredentials,
    Stage,
    StageUpdate,
    list_opportunity_stages,
    update_opportunity_stage,
)
from prefect_ruddr.sandbox import Sandbox

Row = tuple[str, int, int]
"""A stage's id, and how many deals that reached it were won, and closed, last year."""

TOO_FEW_DEALS = 20


@task
def extract(warehouse: Path) -> list[Row]:
    """Read what became of last year's deals, by stage."""
    with closing(sqlite3.connect(warehouse)) as connection:
        return connection.execute("SELECT stage_id, won, closed FROM stage_history").fetchall()


@task
def transform(rows: list[Row]) -> list[StageUpdate]:
    """Turn win rates into updates; a stage with too few deals says nothing."""
    return [
        StageUpdate(id=stage_id, probability=round(won / closed, 4))
        for stage_id, won, closed in rows
        if closed >= TOO_FEW_DEALS
    ]


@task
def check(updates: list[StageUpdate], stages: list[Stage]) -> None:
    """Compare what Ruddr holds now with what was wanted."""
    held = {stage.id: stage for stage in stages}
    wrong = [update for update in updates if held[update.id].probability != update.probability]
    if wrong:
        raise ValueError(f"Ruddr does not hold what was sent: {wrong}")


# Eight requests under way are enough for Ruddr's 20 a second; without a number it is one thread
# for each update.
@flow(
    log_prints=True,
    task_runner=ThreadPoolTaskRunner(max_workers=8),  # type: ignore[arg-type]  # Prefect's own default has this type
)
def stage_etl(warehouse: Path, ruddr_credentials: RuddrCredentials) -> list[Stage]:
    """Set each stage's win probability to what last year's deals say."""
    updates = transform(extract(warehouse))
    changed = update_opportunity_stage.map(unmapped(ruddr_credentials), updates).result()
    check(updates, list_opportunity_stages(ruddr_credentials))
    for stage in changed:
        print(f"{stage.name}: {stage.probability:.2%}")
    return changed


def make_warehouse(path: Path, stages: list[dict[str, Any]]) -> None:
    """Fill an SQLite file with a year of deals: few at the first stage, more at each next one."""
    rows = []
    for number, stage in enumerate(stages):
        closed = 12 + 17 * number
        rows.append((stage["id"], round(closed * stage["probability"] * 0.9), closed))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE stage_history (stage_id TEXT, won INTEGER, closed INTEGER)"
        )
        connection.executemany("INSERT INTO stage_history VALUES (?, ?, ?)", rows)


def main() -> None:
    """Run the flow from a made-up warehouse to a sandbox."""
    with TemporaryDirectory() as folder, Sandbox() as sandbox:
        open_stages = [stage for stage in sandbox.stages if stage["statusId"] == "open"]
        warehouse = Path(folder) / "warehouse.db"
        make_warehouse(warehouse, open_stages)
        ruddr_credentials = RuddrCredentials(
            api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url
        )
        changed = stage_etl(warehouse, ruddr_credentials)
        patches = sum(request.method == "PATCH" for request in sandbox.requests)
    print(
        f"{len(open_stages)} open stages in the warehouse, {len(changed)} with enough deals;"
        f" {patches} PATCH requests"
    )


if __name__ == "__main__":
    main()
