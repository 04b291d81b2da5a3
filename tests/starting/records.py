"""What a run in another process has to leave behind."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect_ruddr import RuddrCredentials, undo_stage_updates
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.sandbox import Sandbox
from runs.records import table


def require_applied_and_undone(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    flow_run_id: UUID,
    before: list[dict[str, Any]],
) -> None:
    """Require a whole report of what was written, and that an undo finds the run."""
    outcomes = table(flow_run_id, OUTCOMES_KEY)
    assert [(row["stage id"], row["outcome"]) for row in outcomes] == [
        (stage["id"], "updated") for stage in before[:3]
    ]
    assert [stage["description"] for stage in sandbox.stages[:3]] == [
        f"{stage['id']}." for stage in before[:3]
    ]
    assert undo_stage_updates(ruddr_credentials, flow_run_id).succeeded
    assert sandbox.stages == before
