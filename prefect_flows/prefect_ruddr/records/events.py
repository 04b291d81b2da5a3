"""The events that automations react to: a plan, the end of a run, a drift."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.events import emit_event

from prefect_ruddr.records.artifacts import current_flow_run_id
from prefect_ruddr.stages.drift import StageDrift
from prefect_ruddr.stages.outcome import StageReport
from prefect_ruddr.stages.plan import StagePlan
from prefect_ruddr.stages.stage import Workspace

PLAN_EVENT = "ruddr.stage-plan"
RUN_EVENT = "ruddr.stage-run"
DRIFT_EVENT = "ruddr.opportunity-stage.drift"


def emit_plan(plan: StagePlan, *, dry_run: bool) -> None:
    """Emit how much a run is about to change, or a dry run would."""
    _emit(
        PLAN_EVENT, plan.workspace, _counts(plan), digest=plan.digest, dry_run=str(dry_run).lower()
    )


def emit_run(report: StageReport) -> None:
    """Emit how many updates of a run ended in which outcome."""
    _emit(
        RUN_EVENT,
        report.workspace,
        {str(outcome): number for outcome, number in report.counts.items()},
        summary=report.summary(),
        dry_run=str(report.dry_run).lower(),
    )


def emit_drift(drift: StageDrift) -> None:
    """Emit how many stages are not as they were wanted."""
    _emit(
        DRIFT_EVENT,
        drift.plan.workspace,
        _counts(drift.plan) | {"missing": len(drift.missing)},
        source=drift.source,
        summary=drift.in_one_line(),
    )


def _counts(plan: StagePlan) -> dict[str, int]:
    return {
        "stages": len(plan.changes),
        "fields": sum(len(change.fields) for change in plan.changes),
        "unchanged": len(plan.unchanged),
    }


def _emit(event: str, workspace: Workspace | None, counts: Mapping[str, int], **more: str) -> None:
    # An automation's trigger compares labels of the resource and nothing else, so that is where
    # the counts are, too: "ruddr.conflict": "!0".
    emit_event(
        event=event,
        resource={
            "prefect.resource.id": f"{event}.{current_flow_run_id()}",
            "prefect.resource.name": workspace.name if workspace else "opportunity stages",
            "ruddr.workspace.id": str(workspace.id) if workspace else "",
            **{f"ruddr.{name}": str(number) for name, number in counts.items()},
            **{f"ruddr.{name}": text for name, text in more.items()},
        },
        payload={**counts, **more},
    )
