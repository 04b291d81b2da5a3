"""The main job, end to end: win probabilities from what really happened to deals.

`make run` runs it: a sandbox Ruddr, a warehouse in an SQLite file, and Prefect's own database, with
no account and no server to set up, and nothing left running. What it leaves goes to a folder of its
own, on which `make ui` opens Prefect's UI, and from which `make undo` undoes the run.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from prefect.settings import PREFECT_HOME
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from warehouse import QUERY, make_warehouse

from prefect_ruddr import (
    Recalibration,
    RuddrCredentials,
    backtest_sentences,
    change_picture,
    recalibrate_stage_probabilities,
    reliability_picture,
    undo_stage_updates,
)
from prefect_ruddr.sandbox import Sandbox

FOLDER = Path(PREFECT_HOME.value())
STATE, LAST_RUN, WAREHOUSE = FOLDER / "sandbox.json", FOLDER / "last-run", FOLDER / "warehouse.db"


def credentials_of(sandbox: Sandbox) -> RuddrCredentials:
    """Return the key to a sandbox, and what its pipelines are called."""
    return RuddrCredentials(
        api_key=SecretStr(sandbox.api_key),
        base_url=sandbox.base_url,
        pipelines={each["name"]: UUID(each["id"]) for each in sandbox.pipelines},
    )


def history_of_deals() -> list[sqlite3.Row]:
    """Extract: a row for each entry of a deal into a stage."""
    with closing(sqlite3.connect(WAREHOUSE)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(QUERY).fetchall()


def stages_table(result: Recalibration) -> Table:
    """Return a row for each stage that deals can enter: before, after, and why."""
    table = Table(title="Win probabilities, before and after")
    for heading in ("stage", "before", "after", "why"):
        table.add_column(heading, overflow="fold")
    named = Counter(stage.name for stage in result.stages)
    for stage in result.stages:
        if stage.decision == "fixed":
            continue
        label = stage.name if named[stage.name] == 1 else f"{stage.name} ({stage.pipeline})"
        after = "" if stage.proposed is None else f"[bold]{stage.proposed:g}[/bold]"
        table.add_row(label, f"{stage.old:g}", after, stage.reason)
    return table


def save_pictures(result: Recalibration) -> list[Path]:
    """Write the pictures to files."""
    pictures = {"changes": change_picture(result), "reliability": reliability_picture(result)}
    paths = []
    for name, png in pictures.items():
        if png:
            paths.append(FOLDER / f"{name}.png")
            paths[-1].write_bytes(png)
    return paths


def run(console: Console) -> None:
    """Recalibrate the stages of a fresh sandbox, and print what happened."""
    for left in (STATE, WAREHOUSE):
        left.unlink(missing_ok=True)
    with Sandbox(state=STATE) as sandbox:
        console.print(f"A sandbox Ruddr listens at {sandbox.base_url}.")
        ruddr_credentials = credentials_of(sandbox)
        stages = ruddr_credentials.get_client().list_stages()
        make_warehouse(WAREHOUSE, stages, datetime.now(UTC))
        rows = history_of_deals()
        console.print(f"The warehouse has two years of deals: {len(rows)} entries into a stage.\n")
        result = recalibrate_stage_probabilities(ruddr_credentials, rows, approval="never")
        patches = sum(request.method == "PATCH" for request in sandbox.requests)
    console.print("What the run did, a step for each stage:\n")
    console.print(result.report)
    console.print()
    console.print(stages_table(result))
    for warning in result.warnings:
        console.print(f"[yellow]Mind: {warning}[/yellow]")
    console.print("\nHad it run a year ago, would that have been better?", style="bold")
    for sentence in backtest_sentences(result):
        console.print(f"- {sentence}")
    console.print("\nThe pictures:", style="bold")
    for path in save_pictures(result):
        console.print(f"- {path}", soft_wrap=True)
    LAST_RUN.write_text(str(result.report and result.report.flow_run_id))
    console.print(
        f"\n{len(result.stages)} stages, {len(result.updates)} changed, {patches} PATCH requests."
        f" Flow run state: Completed ({result.in_one_line()})"
    )
    console.print("See it in Prefect's UI:  make ui")
    console.print("Undo it all:             make undo")


def undo(console: Console) -> None:
    """Undo the last run, on the sandbox as that run left it."""
    with Sandbox(state=STATE) as sandbox:
        report = undo_stage_updates(credentials_of(sandbox), UUID(LAST_RUN.read_text()))
    console.print(report)


def main() -> int:
    """Run the recalibration, or with `undo` undo the last one."""
    console = Console()
    if "undo" not in sys.argv[1:]:
        run(console)
    elif LAST_RUN.exists():
        undo(console)
    else:
        console.print("Nothing to undo yet: run `make run` first.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
