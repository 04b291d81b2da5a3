"""The main job, end to end: change stages of a local sandbox Ruddr from a Prefect flow.

`make run` runs it: no account and no server to set up, and nothing is left running. What Prefect
records goes to a folder of its own, on which `make ui` then opens Prefect's UI.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from prefect.settings import PREFECT_HOME
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from prefect_ruddr import (
    RuddrCredentials,
    StageReport,
    StageUpdate,
    apply_stage_updates,
    list_opportunity_stages,
)
from prefect_ruddr.sandbox import Sandbox
from prefect_ruddr.stages.diff import value_text


@flow(name="sharpen-forecast")
def sharpen_forecast(ruddr_credentials: RuddrCredentials) -> StageReport:
    """Lower the win probability of every open stage by a tenth of itself."""
    return apply_stage_updates(
        ruddr_credentials,
        [
            StageUpdate(id=stage.id, probability=round(stage.probability * 0.9, 4))
            for stage in list_opportunity_stages(ruddr_credentials)
            if stage.status_id == "open"
        ],
    )


def before_and_after(report: StageReport) -> Table:
    """Return the table of what a run changed."""
    table = Table(title="Opportunity stages, before and after")
    for heading in ("stage", "field", "before", "after", "outcome"):
        table.add_column(heading)
    for outcome in report.outcomes:
        for field, after in outcome.after.items():
            before = outcome.before.get(field)
            table.add_row(
                outcome.stage_name, field, value_text(before), value_text(after), outcome.outcome
            )
    return table


def main() -> None:
    """Run the flow against a sandbox, and print what it changed."""
    console = Console()
    with Sandbox(api_key="sandbox-key") as sandbox:
        console.print(f"A sandbox Ruddr listens at {sandbox.base_url}")
        console.print("Running the Prefect flow sharpen-forecast against it …")
        ruddr_credentials = RuddrCredentials(
            api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url
        )
        state = sharpen_forecast(ruddr_credentials, return_state=True)
        report = state.result()
        patches = sum(request.method == "PATCH" for request in sandbox.requests)
    console.print(before_and_after(report))
    console.print(
        f"{len(report.outcomes)} updates: {report.summary()};"
        f" {patches} PATCH requests, one for each stage that differed."
    )
    console.print(f"Flow run state: {state.name}")
    (Path(PREFECT_HOME.value()) / "last-run").write_text(str(report.flow_run_id))
    console.print("See it in Prefect's UI:  make ui")


if __name__ == "__main__":
    main()
