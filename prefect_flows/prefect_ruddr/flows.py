"""The deployable flows."""

from uuid import UUID

from prefect import flow

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.runs.approval import Approval, Question
from prefect_ruddr.runs.forms import (
    ProbabilityChange,
    Seconds,
    UpdateAsTyped,
    UpdatesAsTyped,
    bulk_flow,
)
from prefect_ruddr.runs.run import apply_rows, take_back
from prefect_ruddr.sources.cells import Blank
from prefect_ruddr.sources.opening import SourceFormat
from prefect_ruddr.sources.rows import OnInvalid
from prefect_ruddr.stages.outcome import StageReport
from prefect_ruddr.stages.plan import RISKY_PROBABILITY_CHANGE
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.stages.update import parse_stage_update
from prefect_ruddr.tasks import read_stage_updates, update_opportunity_stage


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
    return update_opportunity_stage(ruddr_credentials, parse_stage_update(update))


@bulk_flow("apply-stage-updates")
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

    It is a sync flow: from an async one, `await asyncio.to_thread(apply_stage_updates, …)` runs
    it without holding up the event loop.

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
    return apply_rows(ruddr_credentials, updates, question, dry_run=dry_run, on_invalid=on_invalid)


@bulk_flow("apply-stage-file")
def apply_stage_file(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str,
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    blank: Blank = "leave",
    null_marker: str | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    pipelines: dict[str, UUID] | None = None,
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
        format: "csv", "jsonl", "parquet" or "yaml"; None for what the file's name says.
        blank: What a blank description of a CSV or Parquet file means: "leave" it alone or
            "clear" it. Anything else that is blank is left alone.
        null_marker: A text that means null, such as `NULL`.
        encoding: How a CSV, JSON Lines or YAML file is encoded.
        delimiter: The character between two cells of a CSV file.
        pipelines: The ids of pipelines by what you call them, where rows give these names.
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
        delimiter=delimiter,
        pipelines=pipelines,
        on_invalid="skip",
    )
    question = Question(approval, risky_probability_change, approval_timeout_seconds)
    return apply_rows(ruddr_credentials, rows, question, dry_run=dry_run, on_invalid=on_invalid)


@bulk_flow("undo-stage-updates")
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
    question = Question(approval, risky_probability_change, approval_timeout_seconds)
    return take_back(ruddr_credentials, UUID(str(flow_run_id)), question, dry_run=dry_run)
