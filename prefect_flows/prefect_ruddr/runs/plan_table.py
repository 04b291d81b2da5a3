"""The plan as a table in Prefect: published before the first write, and read for an undo."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import Artifact

from prefect_ruddr.errors import PlanNotFound
from prefect_ruddr.runs.artifacts import artifacts_of, publish
from prefect_ruddr.runs.reports import OUTCOMES_KEY
from prefect_ruddr.stages.plan import FieldChange, StageChange, StagePlan, merged
from prefect_ruddr.stages.stage import FieldValue, Workspace
from prefect_ruddr.texts import count, one_line

PLAN_KEY = "ruddr-stage-plan"

_WRITTEN = {"updated", "failed"}


def publish_plan(plan: StagePlan, *, dry_run: bool) -> None:
    """Publish the plan as a table artifact of this flow run: a row for each changed field.

    It is what a person reads before anything is written, and what an undo loads.
    """
    workspace = plan.workspace
    what = f"{count(len(plan.changes), 'stage')} to change, {len(plan.unchanged)} unchanged"
    where = f" in workspace **{workspace.name}** (`{workspace.id}`)" if workspace else ""
    note = "A dry run: nothing is written." if dry_run else "Nothing was written before this."
    metadata = plan_metadata(plan, dry_run=dry_run)
    publish(
        PLAN_KEY,
        "table",
        json.dumps(plan_rows(plan)),
        f"### Plan `{metadata['digest']}`\n{what}{where}. {note}",
        metadata,
    )


def plan_rows(plan: StagePlan) -> list[dict[str, FieldValue]]:
    """Return the plan as the rows of its table."""
    return [
        {
            "stage id": str(change.stage_id),
            "stage": change.stage_name,
            "field": field.field,
            "before": field.before,
            "after": field.after,
        }
        for change in plan.changes
        for field in change.fields
    ]


def plan_metadata(plan: StagePlan, *, dry_run: bool) -> dict[str, str]:
    """Return what is published beside the table, for an undo to know the plan by."""
    return {
        "digest": plan.digest,
        "workspace_id": str(plan.workspace.id) if plan.workspace else "",
        "workspace_name": plan.workspace.name if plan.workspace else "",
        "dry_run": str(dry_run).lower(),
        "created_at": plan.created_at.isoformat(),
    }


def load_applied_plan(flow_run_id: UUID) -> StagePlan:
    """Load what a flow run planned and may have written.

    Reads the plan tables that the run published. A run that Prefect tried again planned
    more than once; the plans are joined. Changes that the run itself reported as not written
    are left out; of a plan that it was killed over, and could not report on, all are taken.

    Args:
        flow_run_id: The flow run.

    Raises:
        PlanNotFound: When Prefect knows no plan of that run, it was a dry run, or its table
            is not as it was published.
    """
    plans = [
        published_plan(artifact)
        for artifact in artifacts_of(flow_run_id, PLAN_KEY)
        if (artifact.metadata_ or {}).get("dry_run") != "true"
    ]
    if not plans:
        raise PlanNotFound(
            f"flow run {flow_run_id} left no plan that was to be written: give the id of a run"
            " of apply-stage-updates or apply-stage-file, or of an undo, that was not a dry run"
        )
    return merged(_as_reported(plans, artifacts_of(flow_run_id, OUTCOMES_KEY)))


def published_plan(artifact: Artifact) -> StagePlan:
    """Read a plan from its table artifact.

    Raises:
        PlanNotFound: When the table is not as it was published.
    """
    said = artifact.metadata_ or {}
    try:
        rows: list[dict[str, Any]] = json.loads(str(artifact.data))
        plan = StagePlan(
            workspace=Workspace(id=UUID(said["workspace_id"]), name=said["workspace_name"])
            if said["workspace_id"]
            else None,
            changes=tuple(
                StageChange(
                    stage_id=UUID(stage_id),
                    stage_name=name,
                    fields=tuple(
                        FieldChange(field=row["field"], before=row["before"], after=row["after"])
                        for row in of_stage
                    ),
                )
                for (stage_id, name), of_stage in groupby(
                    rows, key=lambda row: (row["stage id"], row["stage"])
                )
            ),
            created_at=datetime.fromisoformat(said["created_at"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PlanNotFound(
            f"the plan of flow run {artifact.flow_run_id} cannot be read: {one_line(repr(error))}"
        ) from None
    if plan.digest != said.get("digest"):
        raise PlanNotFound(
            f"the plan of flow run {artifact.flow_run_id} is not as it was published:"
            f" its digest is {plan.digest}, not {said.get('digest')}"
        )
    return plan


def _as_reported(plans: Sequence[StagePlan], reports: Iterable[Artifact]) -> list[StagePlan]:
    """Return the plans without the changes that are reported as not written."""
    written: dict[str, list[set[str]]] = defaultdict(list)
    for report in reports:
        rows = json.loads(str(report.data))
        written[(report.metadata_ or {}).get("digest", "")].append(
            {row["stage id"] for row in rows if row["outcome"] in _WRITTEN}
        )
    planned = Counter(plan.digest for plan in plans)
    return [
        _only(plan, set().union(*written[plan.digest]))
        if len(written[plan.digest]) == planned[plan.digest]
        else plan
        for plan in plans
    ]


def _only(plan: StagePlan, stage_ids: Set[str]) -> StagePlan:
    kept = tuple(change for change in plan.changes if str(change.stage_id) in stage_ids)
    return plan.model_copy(update={"changes": kept})
