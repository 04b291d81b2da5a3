"""Loads from Prefect what an earlier flow run planned, so that it can be taken back."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import Artifact

from prefect_ruddr.errors import PlanNotFound
from prefect_ruddr.plans import FieldChange, StageChange, StagePlan, merged
from prefect_ruddr.reports import OUTCOMES_KEY, PLAN_KEY
from prefect_ruddr.stages import Workspace
from prefect_ruddr.texts import bounded

_WRITTEN = {"updated", "failed"}


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
        for artifact in _artifacts(flow_run_id, PLAN_KEY)
        if (artifact.metadata_ or {}).get("dry_run") != "true"
    ]
    if not plans:
        raise PlanNotFound(
            f"flow run {flow_run_id} left no plan that was to be written: give the id of a run"
            " of apply-stage-updates or apply-stage-file, or of an undo, that was not a dry run"
        )
    return merged(_as_reported(plans, _artifacts(flow_run_id, OUTCOMES_KEY)))


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
            f"the plan of flow run {artifact.flow_run_id} cannot be read: {bounded(repr(error))}"
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


def _artifacts(flow_run_id: UUID, key: str) -> list[Artifact]:
    """Return a run's artifacts of a key, the oldest first."""
    # Not `client.read_artifacts`: it sends null for what it was not given, and Prefect's server
    # (3.8.8 with the FastAPI it needs) refuses that.
    with get_client(sync_client=True) as client:
        answer = client.request(
            "POST",
            "/artifacts/filter",
            json={
                "artifacts": {"flow_run_id": {"any_": [str(flow_run_id)]}, "key": {"any_": [key]}},
                "sort": "CREATED_DESC",
            },
        )
    return [Artifact.model_validate(artifact) for artifact in reversed(answer.json())]
