"""The outcomes of a run as a table in Prefect: published at its end, and read for an undo."""

from __future__ import annotations

from typing import Any

from prefect.client.schemas.objects import Artifact

from prefect_ruddr.errors import PlanNotFound
from prefect_ruddr.records.artifacts import publish_table, read_table
from prefect_ruddr.stages.diff import change_text
from prefect_ruddr.stages.outcome import StageOutcome, StageReport
from prefect_ruddr.stages.plan import StagePlan
from prefect_ruddr.texts import one_line

OUTCOMES_KEY = "ruddr-stage-outcomes"

UPDATE, STAGE, OUTCOME, ERROR, CHANGE = "update", "stage", "outcome", "error", "change"
ATTEMPTS, WRITTEN, STAGE_ID = "attempts", "written", "stage id"
"""The columns, in the order of the table: Prefect's UI cuts off what stands on the right."""

_WRITTEN = {True: "yes", False: "no", None: "in doubt"}


def publish_outcomes(report: StageReport, plan: StagePlan) -> None:
    """Publish the outcome of each update as a table artifact of this flow run.

    Args:
        report: What became of each update.
        plan: The plan it is the account of, which an undo knows by its digest.
    """
    rows = [_row(position, outcome) for position, outcome in enumerate(report.outcomes, 1)]
    description = f"### Outcomes: {report.summary()}"
    publish_table(OUTCOMES_KEY, rows, description, {"digest": plan.digest})


def stages_written(artifact: Artifact) -> tuple[str, set[str]]:
    """Return of which plan, by its digest, which stages were or may have been written.

    Raises:
        PlanNotFound: When the table is not as it was published.
    """
    try:
        rows = read_table(artifact)
        said = artifact.metadata_ or {}
        return said["digest"], {row[STAGE_ID] for row in rows if row[WRITTEN] != "no"}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PlanNotFound(
            f"the outcomes of flow run {artifact.flow_run_id} are not as they were published,"
            f" so what it wrote is not known: {one_line(str(error))}"
        ) from None


def _row(position: int, outcome: StageOutcome) -> dict[str, Any]:
    return {
        UPDATE: outcome.place or position,
        STAGE: outcome.label,
        OUTCOME: outcome.outcome,
        ERROR: outcome.error,
        CHANGE: change_text(outcome.steps) or None,
        ATTEMPTS: outcome.attempts,
        WRITTEN: _WRITTEN[outcome.written],
        STAGE_ID: str(outcome.stage_id) if outcome.stage_id else None,
    }
