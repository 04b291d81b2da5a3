"""The plan as a table in Prefect: published before the first write, and read again."""

from __future__ import annotations

from datetime import datetime
from itertools import groupby
from uuid import UUID

from prefect.client.schemas.objects import Artifact

from prefect_ruddr.errors import PlanNotFound
from prefect_ruddr.machine import machine_id
from prefect_ruddr.records.artifacts import Row, in_full, publish_table, read_table, side_by_side
from prefect_ruddr.stages.plan import FieldChange, StageChange, StagePlan
from prefect_ruddr.stages.stage import Workspace
from prefect_ruddr.texts import count, one_line

PLAN_KEY = "ruddr-stage-plan"

MACHINE = "machine"
"""Where the metadata of a plan say which machine its run was on."""

STAGE, FIELD, BEFORE, AFTER, STAGE_ID = "stage", "field", "before", "after", "stage id"
"""The columns, in the order of the table: Prefect's UI cuts off what stands on the right."""


def publish_plan(plan: StagePlan, *, dry_run: bool) -> UUID:
    """Publish the plan as a table artifact of this flow run: a row for each changed field.

    It is what a person reads before anything is written, and what an undo loads.

    Returns:
        The id of the artifact.
    """
    workspace = plan.workspace
    what = f"{count(len(plan.changes), 'stage')} to change, {len(plan.unchanged)} unchanged"
    where = f" in workspace **{workspace.name}** (`{workspace.id}`)" if workspace else ""
    note = "A dry run: nothing is written." if dry_run else "Nothing was written before this."
    lasting = "".join(f"\n\n{text}" for text in plan.cannot_be_undone())
    metadata = plan_metadata(plan, dry_run=dry_run) | {MACHINE: machine_id() or ""}
    description = f"### Plan `{plan.digest}`\n{what}{where}. {note}{lasting}"
    return publish_table(PLAN_KEY, plan_rows(plan), description, metadata)


def plan_rows(plan: StagePlan) -> list[Row]:
    """Return the plan as the rows of its table."""
    rows = [
        {
            STAGE: change.label,
            FIELD: field.field,
            BEFORE: field.before,
            AFTER: field.after,
            STAGE_ID: str(change.stage_id),
        }
        for change in plan.changes
        for field in change.fields
    ]
    return side_by_side(rows, BEFORE, AFTER)


def plan_metadata(plan: StagePlan, *, dry_run: bool) -> dict[str, str]:
    """Return what is published beside the table, to know the plan by."""
    return {
        "digest": plan.digest,
        "workspace_id": str(plan.workspace.id) if plan.workspace else "",
        "workspace_name": plan.workspace.name if plan.workspace else "",
        "dry_run": str(dry_run).lower(),
        "created_at": plan.created_at.isoformat(),
    }


def is_dry_run(artifact: Artifact) -> bool:
    """Tell whether a plan was published by a dry run."""
    return (artifact.metadata_ or {}).get("dry_run") == "true"


def published_plan(artifact: Artifact) -> StagePlan:
    """Read a plan from its table artifact.

    Raises:
        PlanNotFound: When the table is not as it was published.
    """
    said = artifact.metadata_ or {}
    try:
        plan = StagePlan(
            workspace=Workspace(id=UUID(said["workspace_id"]), name=said["workspace_name"])
            if said["workspace_id"]
            else None,
            changes=tuple(
                StageChange(
                    stage_id=UUID(stage_id),
                    stage_name=label,
                    fields=tuple(
                        FieldChange(
                            field=row[FIELD],
                            before=row.get(in_full(BEFORE), row[BEFORE]),
                            after=row.get(in_full(AFTER), row[AFTER]),
                        )
                        for row in of_stage
                    ),
                )
                for (stage_id, label), of_stage in groupby(
                    read_table(artifact), key=lambda row: (row[STAGE_ID], row[STAGE])
                )
            ),
            created_at=datetime.fromisoformat(said["created_at"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PlanNotFound(
            f"the plan of flow run {artifact.flow_run_id} is not as it was published:"
            f" {one_line(str(error))}"
        ) from None
    if plan.digest != said.get("digest"):
        raise PlanNotFound(
            f"the plan of flow run {artifact.flow_run_id} is not as it was published:"
            f" its digest is {plan.digest}, not {said.get('digest')}"
        )
    return plan
