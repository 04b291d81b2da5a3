"""What a run does from its input to its report, whichever flow it is the run of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from uuid import UUID

from prefect.logging import get_run_logger

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError
from prefect_ruddr.runs.applying import apply_plan, require_workspace
from prefect_ruddr.runs.approval import Question, refusal
from prefect_ruddr.runs.artifacts import current_flow_run_id
from prefect_ruddr.runs.intake import Intake, Row, intake, ledger_of
from prefect_ruddr.runs.plan_table import load_applied_plan, publish_plan
from prefect_ruddr.runs.reports import publish_outcomes
from prefect_ruddr.runs.steps import read_stages
from prefect_ruddr.sources.rows import OnInvalid
from prefect_ruddr.stages.outcome import Ledger, StageOutcome, StageReport, StageUpdatesFailed
from prefect_ruddr.stages.plan import StageChange, StagePlan, plan_stage_updates
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.tasks import list_opportunity_stages

NOTHING = StagePlan(workspace=None, changes=())


class NotWritten(Exception):
    """Why a run ends without writing anything, or anything more."""


def apply_rows(
    ruddr_credentials: RuddrCredentials,
    rows: Iterable[Row],
    question: Question,
    *,
    dry_run: bool,
    on_invalid: OnInvalid,
) -> StageReport:
    """Judge rows, plan, publish, ask, write, report.

    Args:
        ruddr_credentials: The key to the workspace.
        rows: What somebody wants.
        question: Whether a person is to be asked about the plan.
        dry_run: Whether to stop when the plan is published.
        on_invalid: What to do about wrong rows.

    Raises:
        StageUpdatesFailed: When not every row is in effect; its `report` is whole.
    """
    judged = intake(rows)
    ledger = ledger_of(judged)
    plan = NOTHING
    why = None
    try:
        if judged.by_name:
            live = {stage.id: stage for stage in list_opportunity_stages(ruddr_credentials)}
        else:
            _stop_at_errors(judged, on_invalid)
            live = read_stages(ruddr_credentials, judged.stage_ids)
        judged.compare(live)
        ledger = ledger_of(judged)
        _stop_at_errors(judged, on_invalid)
        plan = _plan(ruddr_credentials, judged, live)
        ledger.settle(StageOutcome.unchanged(live[stage_id]) for stage_id in plan.unchanged)
        ledger.plan(plan.changes)
        del live  # Not kept while writing, which may take long: 1.5 kB for each stage.
        publish_plan(plan, dry_run=dry_run)
        if not dry_run:
            ledger.settle(_written(ruddr_credentials, plan, question))
    except (RuddrRequestError, NotWritten) as error:
        why = str(error)
    ledger.reject(judged.errors)
    return _reported(ledger.close(why), plan, dry_run=dry_run)


def take_back(
    ruddr_credentials: RuddrCredentials, flow_run_id: UUID, question: Question, *, dry_run: bool
) -> StageReport:
    """Load what a run planned, and write its inverse where nobody has changed it since.

    Args:
        ruddr_credentials: The key to the workspace of that run.
        flow_run_id: The run to take back.
        question: Whether a person is to be asked about the plan.
        dry_run: Whether to stop when the plan is published.

    Raises:
        PlanNotFound: When that run left no plan in Prefect, or was a dry run.
        WorkspaceMismatch: When the key is another workspace's; nothing is written.
        StageUpdatesFailed: When not all of it could be taken back; its `report` is whole.
    """
    back = load_applied_plan(flow_run_id).inverted()
    ledger = Ledger(StageOutcome.of(change, "not_attempted") for change in back.changes)
    plan = NOTHING
    why = None
    try:
        if back.changes:
            require_workspace(ruddr_credentials, back)
        live = read_stages(ruddr_credentials, [change.stage_id for change in back.changes])
        due = [change for change in back.changes if _is_due(change, live, ledger)]
        del live  # Not kept while writing, which may take long.
        plan = back.model_copy(update={"changes": tuple(due), "created_at": datetime.now(UTC)})
        publish_plan(plan, dry_run=dry_run)
        if not dry_run:
            ledger.settle(_written(ruddr_credentials, plan, question))
    except (RuddrRequestError, NotWritten) as error:
        why = str(error)
    return _reported(ledger.close(why), plan, dry_run=dry_run)


def _stop_at_errors(judged: Intake, on_invalid: OnInvalid) -> None:
    if judged.errors and on_invalid == "stop":
        raise NotWritten(
            f"nothing was sent, as {len(judged.errors)} of {len(judged.rows)} updates were"
            ' rejected: correct them, or choose on_invalid="skip"'
        )


def _plan(
    ruddr_credentials: RuddrCredentials, judged: Intake, live: Mapping[UUID, Stage]
) -> StagePlan:
    plan = plan_stage_updates(judged.updates, live, None)
    if not plan.changes:
        return plan
    # Asked for only now, so that a run without changes sends nothing but the reads.
    return plan.model_copy(update={"workspace": ruddr_credentials.verify()})


def _is_due(change: StageChange, live: Mapping[UUID, Stage], ledger: Ledger) -> bool:
    """Tell whether a change is to be taken back, and take down why not."""
    if change.stage_id not in live:
        ledger.settle([StageOutcome.of(change, "failed", "the workspace has no such stage")])
        return False
    stage = live[change.stage_id]
    standing = change.standing(stage)
    if standing == "conflict":
        ledger.settle([StageOutcome.of(change, "conflict", change.overtaken_by(stage))])
    elif not change.is_writable:
        ledger.settle(
            [
                StageOutcome.of(
                    change, "rejected", "its earlier pipeline is not known: Ruddr had left it out"
                )
            ]
        )
    elif standing == "unchanged":
        ledger.settle([StageOutcome.of(change, "unchanged")])
    else:
        return True
    return False


def _written(
    ruddr_credentials: RuddrCredentials, plan: StagePlan, question: Question
) -> list[StageOutcome]:
    why_not = refusal(plan, question)
    if why_not:
        raise NotWritten(f"nothing was written: {why_not}")
    outcomes = apply_plan(ruddr_credentials, plan, reread=question.is_asked(plan))
    return list(outcomes.values())


def _reported(outcomes: tuple[StageOutcome, ...], plan: StagePlan, *, dry_run: bool) -> StageReport:
    """Publish what became of every update, and raise where not all are in effect."""
    report = StageReport(
        outcomes=outcomes,
        flow_run_id=current_flow_run_id(),
        workspace=plan.workspace,
        dry_run=dry_run,
    )
    try:
        publish_outcomes(report, plan)
    except Exception as error:  # noqa: BLE001  # what was written is written: the caller is told
        get_run_logger().error("The outcomes are not shown in Prefect: %s", error)
    get_run_logger().info("%s%s", "Dry run: " if dry_run else "", report.summary())
    if not report.succeeded:
        raise StageUpdatesFailed(f"{report.summary()}: {report.failures()}", report)
    return report
