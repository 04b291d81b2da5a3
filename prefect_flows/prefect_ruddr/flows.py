"""The deployable flows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import lazy_loader  # type: ignore[import-untyped]
from prefect import flow

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.records.history import load_applied, load_dry_run
from prefect_ruddr.runs.approval import Approval, Question
from prefect_ruddr.runs.forms import (
    AtLeastZero,
    ProbabilityChange,
    Seconds,
    UpdateAsTyped,
    UpdatesAsTyped,
    bulk_flow,
)
from prefect_ruddr.runs.preparation import FromChanges, FromRows, Rules
from prefect_ruddr.runs.run import Manner, carry_out
from prefect_ruddr.sources.cells import Blank
from prefect_ruddr.sources.opening import SourceFormat, file_name
from prefect_ruddr.sources.rows import OnInvalid
from prefect_ruddr.stages.outcome import StageReport
from prefect_ruddr.stages.plan import RISKY_PROBABILITY_CHANGE
from prefect_ruddr.stages.stage import FieldName, Stage
from prefect_ruddr.stages.update import parse_stage_update
from prefect_ruddr.tasks import read_stage_updates, update_opportunity_stage
from prefect_ruddr.texts import count

if TYPE_CHECKING:
    from prefect_ruddr.jobs.drifting import check_stage_drift
    from prefect_ruddr.jobs.exporting import export_opportunity_stages_flow
    from prefect_ruddr.jobs.recalibrating import recalibrate_stage_probabilities

__all__ = [
    "apply_stage_file",
    "apply_stage_plan",
    "apply_stage_updates",
    "check_stage_drift",
    "export_opportunity_stages_flow",
    "recalibrate_stage_probabilities",
    "undo_stage_updates",
    "update_opportunity_stage_flow",
]

# Each job is loaded when it is first used: all three take 0.15 s, a tenth of Prefect's own time.
__getattr__, _, _ = lazy_loader.attach(
    "prefect_ruddr",
    submod_attrs={
        "jobs.drifting": ["check_stage_drift"],
        "jobs.exporting": ["export_opportunity_stages_flow"],
        "jobs.recalibrating": ["recalibrate_stage_probabilities"],
    },
)


def __dir__() -> list[str]:
    """Name the jobs too, before they are loaded."""
    return sorted({*globals(), *__all__})


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
        ValueNotKept: When Ruddr confirmed the change but holds another value.
        RuddrRequestError: When Ruddr refuses or does not answer, in the class that says why.
    """
    return update_opportunity_stage(ruddr_credentials, parse_stage_update(update))


@bulk_flow("apply-stage-updates")
def apply_stage_updates(
    ruddr_credentials: RuddrCredentials,
    updates: UpdatesAsTyped,
    *,
    dry_run: bool = False,
    approval: Approval = "never",
    on_invalid: OnInvalid = "stop",
    most_changes: AtLeastZero | None = None,
    only_fields: Sequence[FieldName] | None = None,
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
    swap_names: bool = False,
    allow_overlap: bool = False,
) -> StageReport:
    """Change many stages: see the difference, write only what differs, report each update.

    Reads the live stages, publishes the plan as a table artifact, asks for approval where
    that is wanted, and sends one PATCH for each stage that differs, each as a task run of its
    own. Each stage is read once more shortly before it is written, and once more at the end.
    Applying the same updates again sends no PATCH. `undo_stage_updates` with this flow run's
    id undoes it all.

    It is a sync flow: from an async one, `await asyncio.to_thread(apply_stage_updates, …)` runs
    it without holding up the event loop.

    A Prefect `transaction()` that rolls back leaves what was written. A task of yours that calls
    this flow can undo it in an `on_rollback` hook, with `undo_stage_updates` and this run's id.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        updates: The stages, and the fields to set of each; at most one update for a stage.
        dry_run: Publish the plan and stop there, so that nothing is written.
        approval: When to wait for a person's yes to the plan. Never, always, or only for a risky
            plan: one in which a status, a pipeline or an activity changes, a win probability moves
            by more than the step below, or more stages change than the most below.
        on_invalid: Whether to write nothing when an update is wrong, or to skip such updates.
        most_changes: How many stages may change. For more, a person is asked where approvals are
            on, and otherwise nothing is written. Empty for any number.
        only_fields: The fields that may be set; an update that sets another one is wrong. Empty
            for all fields.
        risky_probability_change: By how much, from 0 to 1, a win probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.
        swap_names: Whether stages may swap their names. Ruddr refuses two stages of one name in a
            pipeline, so one of them gets a third name in between.
        allow_overlap: Whether to write while another run writes to the same workspace, instead
            of waiting for its end.

    Returns:
        One outcome for each update, in input order, all "updated" or "unchanged"; in a dry
        run "planned" is what would be written.

    Raises:
        StageUpdatesFailed: When any update ended otherwise; its `report` is whole.
    """
    rows = list(updates)
    manner = Manner(
        f"apply {count(len(rows), 'update')}",
        Question(approval, risky_probability_change, approval_timeout_seconds, most_changes),
        dry_run=dry_run,
        allow_overlap=allow_overlap,
    )
    rules = Rules(on_invalid, only_fields, swap_names)
    return carry_out(ruddr_credentials, FromRows(rows, rules), manner)


@bulk_flow("apply-stage-file")
def apply_stage_file(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str,
    *,
    dry_run: bool = False,
    approval: Approval = "never",
    on_invalid: OnInvalid = "stop",
    most_changes: AtLeastZero | None = None,
    only_fields: Sequence[FieldName] | None = None,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    blank: Blank = "leave",
    null_marker: str | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
    swap_names: bool = False,
    allow_overlap: bool = False,
) -> StageReport:
    """Change the stages that a file lists: `read_stage_updates`, then `apply_stage_updates`.

    It is one flow run, with one plan, and `undo_stage_updates` with its id undoes it. Every
    outcome says the file and the line it comes from.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        path_or_url: The file: a path where the flow runs, or a URL such as s3://….
        dry_run: Publish the plan and stop there, so that nothing is written.
        approval: When to wait for a person's yes to the plan. Never, always, or only for a risky
            plan: one in which a status, a pipeline or an activity changes, a win probability moves
            by more than the step below, or more stages change than the most below.
        on_invalid: Whether to write nothing when a row is wrong, or to skip such rows. A file that
            is wrong as a whole, such as by its header, always stops the run.
        most_changes: How many stages may change. For more, a person is asked where approvals are
            on, and otherwise nothing is written. Empty for any number.
        only_fields: The fields that may be set; a row that sets another one is wrong. Empty for
            all fields.
        format: What kind of file it is. Empty for what its name says.
        blank: Whether a blank description leaves the stage's description alone or clears it.
            Anything else that is blank is left alone.
        null_marker: A text that means null, such as NULL. Empty for none.
        encoding: How a text file is encoded.
        delimiter: What separates the cells of a CSV file.
        risky_probability_change: By how much, from 0 to 1, a win probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.
        swap_names: Whether stages may swap their names. Ruddr refuses two stages of one name in a
            pipeline, so one of them gets a third name in between.
        allow_overlap: Whether to write while another run writes to the same workspace, instead
            of waiting for its end.

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
        delimiter=delimiter,
        pipelines=ruddr_credentials.pipeline_names.ids,
        on_invalid="skip",
    )
    manner = Manner(
        f"apply {count(len(rows), 'update')} from {file_name(path_or_url)}",
        Question(approval, risky_probability_change, approval_timeout_seconds, most_changes),
        dry_run=dry_run,
        allow_overlap=allow_overlap,
    )
    rules = Rules(on_invalid, only_fields, swap_names)
    return carry_out(ruddr_credentials, FromRows(rows, rules), manner)


@bulk_flow("apply-stage-plan")
def apply_stage_plan(
    ruddr_credentials: RuddrCredentials,
    flow_run_id: UUID,
    *,
    approval: Approval = "never",
    most_changes: AtLeastZero | None = None,
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
    swap_names: bool = False,
    allow_overlap: bool = False,
) -> StageReport:
    """Carry out exactly the plan that a dry run published.

    What a reviewer has seen is what happens. A stage that has been changed since is a conflict and
    is not written.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        flow_run_id: The id of the dry run, or of a flow run above it.
        approval: When to wait for a person's yes to the plan. Never, always, or only for a risky
            plan: one in which a status, a pipeline or an activity changes, a win probability moves
            by more than the step below, or more stages change than the most below.
        most_changes: How many stages may change. For more, a person is asked where approvals are
            on, and otherwise nothing is written. Empty for any number.
        risky_probability_change: By how much, from 0 to 1, a win probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.
        swap_names: Whether stages may swap their names. Ruddr refuses two stages of one name in a
            pipeline, so one of them gets a third name in between.
        allow_overlap: Whether to write while another run writes to the same workspace, instead
            of waiting for its end.

    Returns:
        One outcome for each change of the plan, all "updated" or "unchanged".

    Raises:
        PlanNotFound: When that run published no plan, or was no dry run.
        WorkspaceMismatch: When the key is another workspace's; nothing is written.
        StageUpdatesFailed: When any change ended otherwise; its `report` is whole.
    """
    planned = load_dry_run(UUID(str(flow_run_id)))
    manner = Manner(
        f"apply the plan of {planned.name}",
        Question(approval, risky_probability_change, approval_timeout_seconds, most_changes),
        allow_overlap=allow_overlap,
    )
    preparation = FromChanges(planned.plan, Rules(swap_names=swap_names))
    return carry_out(ruddr_credentials, preparation, manner)


@bulk_flow("undo-stage-updates")
def undo_stage_updates(
    ruddr_credentials: RuddrCredentials,
    flow_run_id: UUID,
    *,
    dry_run: bool = False,
    approval: Approval = "never",
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
    swap_names: bool = False,
    allow_overlap: bool = False,
) -> StageReport:
    """Undo what an earlier run changed, as far as nobody has changed it since.

    Loads the plan that the run published to Prefect, from any machine that reaches the same
    Prefect API, and applies its inverse in the same way: plan, approval, one step for each
    change. An undo can itself be undone.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        flow_run_id: The id of the flow run to undo. It may be the run that applied the updates, an
            undo, or a flow run above several of them, which are then undone together.
        dry_run: Publish the plan and stop there, so that nothing is written.
        approval: When to wait for a person's yes to the plan. Never, always, or only for a risky
            plan: one in which a status, a pipeline or an activity changes, or a win probability
            moves by more than the step below.
        risky_probability_change: By how much, from 0 to 1, a win probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.
        swap_names: Whether stages may swap their names. Ruddr refuses two stages of one name in a
            pipeline, so one of them gets a third name in between.
        allow_overlap: Whether to write while another run writes to the same workspace, instead
            of waiting for its end.

    Returns:
        One outcome for each change of the earlier run, all "updated" or "unchanged".

    Raises:
        PlanNotFound: When that run left no plan in Prefect, or was a dry run.
        RunNotEnded: When the run to undo may still be writing; nothing is written.
        WorkspaceMismatch: When the key is another workspace's; nothing is written.
        StageUpdatesFailed: When any change could not be undone; one that somebody has changed
            since is a "conflict" and is not touched. Its `report` is whole.
    """
    applied = load_applied(UUID(str(flow_run_id)))
    manner = Manner(
        f"undo of {applied.name}",
        Question(approval, risky_probability_change, approval_timeout_seconds),
        dry_run=dry_run,
        allow_overlap=allow_overlap,
    )
    preparation = FromChanges(applied.plan.inverted(), Rules(swap_names=swap_names))
    return carry_out(ruddr_credentials, preparation, manner)
