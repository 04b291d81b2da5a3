"""The deployable flows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from prefect import flow
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import core_schema

from prefect_ruddr.applying import CONCURRENCY, apply_plan, require_workspace
from prefect_ruddr.approval import Approval, Question, refusal
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError, StageUpdatesFailed
from prefect_ruddr.history import load_applied_plan
from prefect_ruddr.intake import Intake, Row, intake
from prefect_ruddr.outcomes import Ledger, StageOutcome, StageReport
from prefect_ruddr.plans import RISKY_PROBABILITY_CHANGE, StageChange, StagePlan, plan_stage_updates
from prefect_ruddr.reports import current_flow_run_id, publish_outcomes, publish_plan
from prefect_ruddr.rows import Blank
from prefect_ruddr.sources import SourceFormat
from prefect_ruddr.stages import Stage, StageUpdate, StageUpdateLike, stage_update
from prefect_ruddr.tasks import (
    list_opportunity_stages,
    read_stage_updates,
    read_stages,
    update_opportunity_stage,
)


class _Form:
    """Shows a parameter as a type in the form, and takes what is given as it is.

    It is the flow that validates, not Prefect, so that the message is ours: one line, every
    violation.
    """

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __get_pydantic_core_schema__(
        self, _: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        form = handler.generate_schema(self._shown)
        return core_schema.no_info_wrap_validator_function(lambda value, _: value, form)


UpdateAsTyped: TypeAlias = Annotated[StageUpdateLike, _Form(StageUpdate)]
UpdatesAsTyped: TypeAlias = Annotated[Sequence[Row], _Form(list[StageUpdate])]

OnInvalid: TypeAlias = Literal["stop", "skip"]
"""What to do about updates that break a limit: send nothing at all, or go on without them."""

ProbabilityChange: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[int, Field(ge=1)]


@flow(name="update-opportunity-stage")
def update_opportunity_stage_flow(
    ruddr_credentials: RuddrCredentials, update: UpdateAsTyped
) -> Stage:
    """Change one stage.

    In Prefect's UI the parameters are a form with Ruddr's limits in it. The update is
    validated before any task starts; a wrong one fails the run in one line, with nothing sent.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        update: The stage, and the fields to set; the others are left alone.

    Returns:
        The whole stage after the change, as Ruddr answered it.

    Raises:
        InvalidStageUpdates: When the update breaks a limit; nothing is sent.
        RuddrRequestError: When Ruddr refuses or does not answer, in the class that says why.
    """
    return update_opportunity_stage(ruddr_credentials, stage_update(update))


@flow(
    name="apply-stage-updates",
    task_runner=ThreadPoolTaskRunner(max_workers=CONCURRENCY),  # type: ignore[arg-type]  # Prefect's own default has this type
)
def apply_stage_updates(
    ruddr_credentials: RuddrCredentials,
    updates: UpdatesAsTyped,
    *,
    dry_run: bool = False,
    approval: Approval = "never",
    on_invalid: OnInvalid = "stop",
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
) -> StageReport:
    """Change many stages: see the difference, write only what differs, report each update.

    Reads the live stages, publishes the plan as a table artifact, asks for approval where
    that is wanted, and sends one PATCH for each stage that differs, each as a task run of its
    own. Applying the same updates again sends no PATCH. `undo_stage_updates` with this flow
    run's id takes it all back.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        updates: The stages, and the fields to set of each; at most one update for a stage.
        dry_run: Publish the plan and stop there: nothing but GETs is sent.
        approval: When to pause for a person's yes to the plan: "never", "risky" (a status,
            pipeline or activity changes, or a probability moves by more than
            `risky_probability_change`), or "always".
        on_invalid: "stop" sends nothing when any update breaks a limit, names a stage twice or
            one that is not there; "skip" goes on without such updates.
        risky_probability_change: By how much, from 0 to 1, a probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.

    Returns:
        One outcome for each update, in input order, all "updated" or "unchanged"; in a dry
        run "not_attempted" is what would be written.

    Raises:
        StageUpdatesFailed: When any update ended otherwise; its `report` is whole.
    """
    question = Question(approval, risky_probability_change, approval_timeout_seconds)
    return _applied(ruddr_credentials, updates, question, dry_run=dry_run, on_invalid=on_invalid)


@flow(
    name="apply-stage-file",
    task_runner=ThreadPoolTaskRunner(max_workers=CONCURRENCY),  # type: ignore[arg-type]  # Prefect's own default has this type
)
def apply_stage_file(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str,
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    blank: Blank = "leave",
    null_marker: str | None = None,
    encoding: str = "utf-8",
    dry_run: bool = False,
    approval: Approval = "never",
    on_invalid: OnInvalid = "stop",
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
) -> StageReport:
    """Change the stages that a file lists: `read_stage_updates`, then `apply_stage_updates`.

    It is one flow run, with one plan, and `undo_stage_updates` with its id takes it back.
    Every outcome says the file and the line it comes from.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        path_or_url: The file: a path where the flow runs, or a URL such as `s3://…`.
        format: "csv", "jsonl" or "parquet"; None for what the file's name says.
        blank: What a blank description of a CSV or Parquet file means: "leave" it alone or
            "clear" it. Anything else that is blank is left alone.
        null_marker: A text that means null, such as `NULL`.
        encoding: How a CSV or JSON Lines file is encoded.
        dry_run: Publish the plan and stop there: nothing but GETs is sent.
        approval: When to pause for a person's yes to the plan, as in `apply_stage_updates`.
        on_invalid: "stop" sends nothing when any row is wrong; "skip" goes on without such
            rows. A file that is wrong as a whole, such as by its header, always stops.
        risky_probability_change: By how much, from 0 to 1, a probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.

    Returns:
        One outcome for each row, in the order of the file, all "updated" or "unchanged".

    Raises:
        InvalidStageUpdates: When the file is wrong as a whole; nothing is sent.
        SourceUnreadable: When the file cannot be read; nothing is sent.
        StageUpdatesFailed: When any row ended otherwise; its `report` is whole.
    """
    rows = read_stage_updates(
        path_or_url,
        format=format,
        blank=blank,
        null_marker=null_marker,
        encoding=encoding,
        on_invalid="keep",
    )
    question = Question(approval, risky_probability_change, approval_timeout_seconds)
    return _applied(ruddr_credentials, rows, question, dry_run=dry_run, on_invalid=on_invalid)


def _applied(
    ruddr_credentials: RuddrCredentials,
    rows: Iterable[Row],
    question: Question,
    *,
    dry_run: bool,
    on_invalid: OnInvalid,
) -> StageReport:
    judged = intake(rows)
    ledger = _ledger(judged)
    plan = NOTHING
    why = None
    try:
        _stop_at_violations(judged, on_invalid)
        if judged.names:
            live = {stage.id: stage for stage in list_opportunity_stages(ruddr_credentials)}
            judged.find_by_name(live.values())
            ledger = _ledger(judged)
        else:
            live = read_stages(ruddr_credentials, [update.id for update in judged.updates.values()])
        judged.reject_unknown(live)
        _stop_at_violations(judged, on_invalid)
        plan = _plan(ruddr_credentials, judged, live)
        ledger.settle(StageOutcome.unchanged(live[stage_id]) for stage_id in plan.unchanged)
        ledger.plan(plan.changes)
        publish_plan(plan, dry_run=dry_run)
        if not dry_run:
            ledger.settle(_written(ruddr_credentials, plan, question))
    except (RuddrRequestError, NotWritten) as error:
        why = str(error)
    ledger.reject(judged.violations)
    return _reported(ledger.close(why), plan, dry_run=dry_run)


@flow(
    name="undo-stage-updates",
    task_runner=ThreadPoolTaskRunner(max_workers=CONCURRENCY),  # type: ignore[arg-type]  # Prefect's own default has this type
)
def undo_stage_updates(
    ruddr_credentials: RuddrCredentials,
    flow_run_id: UUID,
    *,
    dry_run: bool = False,
    approval: Approval = "never",
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
) -> StageReport:
    """Take back what an earlier run changed, as far as nobody has changed it since.

    Loads the plan that the run published to Prefect, from any machine that reaches the same
    Prefect API, and applies its inverse in the same way: plan, approval, one step for each
    change. An undo can itself be undone.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        flow_run_id: The flow run to take back: one that applied stage updates, or an undo.
        dry_run: Publish the plan and stop there: nothing but GETs is sent.
        approval: When to pause for a person's yes to the plan, as in `apply_stage_updates`.
        risky_probability_change: By how much, from 0 to 1, a probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.

    Returns:
        One outcome for each change of the earlier run, all "updated" or "unchanged".

    Raises:
        PlanNotFound: When that run left no plan in Prefect, or was a dry run.
        WorkspaceMismatch: When the key is another workspace's; nothing is written.
        StageUpdatesFailed: When any change could not be taken back; one that somebody has
            changed since is a "conflict" and is not touched. Its `report` is whole.
    """
    back = load_applied_plan(UUID(str(flow_run_id))).inverted()
    ledger = Ledger(StageOutcome.of(change, "not_attempted") for change in back.changes)
    plan = NOTHING
    why = None
    try:
        if back.changes:
            require_workspace(ruddr_credentials, back)
        live = read_stages(ruddr_credentials, [change.stage_id for change in back.changes])
        due = [change for change in back.changes if _is_due(change, live, ledger)]
        plan = back.model_copy(update={"changes": tuple(due), "created_at": datetime.now(UTC)})
        publish_plan(plan, dry_run=dry_run)
        if not dry_run:
            question = Question(approval, risky_probability_change, approval_timeout_seconds)
            ledger.settle(_written(ruddr_credentials, plan, question))
    except (RuddrRequestError, NotWritten) as error:
        why = str(error)
    return _reported(ledger.close(why), plan, dry_run=dry_run)


class NotWritten(Exception):
    """Why a run ends without writing anything, or anything more."""


NOTHING = StagePlan(workspace=None, changes=())


def _ledger(judged: Intake) -> Ledger:
    return Ledger(_line(judged, position) for position in range(len(judged.rows)))


def _line(judged: Intake, position: int) -> StageOutcome:
    update = judged.updates.get(position)
    return StageOutcome(
        outcome="not_attempted",
        stage_id=judged.stage_id(position),
        after=update.fields if update else {},
        retryable=update is not None,
        place=judged.place(position),
    )


def _stop_at_violations(judged: Intake, on_invalid: OnInvalid) -> None:
    if judged.violations and on_invalid == "stop":
        raise NotWritten(
            f"nothing was sent, as {len(judged.violations)} of {len(judged.rows)} updates were"
            ' rejected: correct them, or choose on_invalid="skip"'
        )


def _plan(
    ruddr_credentials: RuddrCredentials, judged: Intake, live: Mapping[UUID, Stage]
) -> StagePlan:
    plan = plan_stage_updates(judged.updates.values(), live, None)
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
    publish_outcomes(report)
    get_run_logger().info("%s%s", "Dry run: " if dry_run else "", report.summary())
    if not report.succeeded:
        raise StageUpdatesFailed(f"{report.summary()}: {report.failures()}", report)
    return report
