"""The flow that sets win probabilities to what the history of deals says."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import Field

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.jobs.history_source import HistorySource
from prefect_ruddr.recalibration.evaluation import recalibrated
from prefect_ruddr.recalibration.history import judged_history
from prefect_ruddr.recalibration.options import RecalibrationOptions, UnknownStages
from prefect_ruddr.recalibration.result import Recalibration
from prefect_ruddr.recalibration.table import finding
from prefect_ruddr.records.recalibration_page import publish_recalibration
from prefect_ruddr.runs.approval import Approval, Question
from prefect_ruddr.runs.endings import in_one_line, result_of
from prefect_ruddr.runs.forms import (
    AtLeastZero,
    HistoryAsTyped,
    ProbabilityChange,
    Seconds,
    bulk_flow,
)
from prefect_ruddr.runs.preparation import FromRows, Rules
from prefect_ruddr.runs.run import Manner, carry_out
from prefect_ruddr.runs.steps import read_stages
from prefect_ruddr.sources.opening import SourceFormat
from prefect_ruddr.stages.plan import RISKY_PROBABILITY_CHANGE
from prefect_ruddr.stages.stage import Stage

AtLeastOne: TypeAlias = Annotated[int, Field(ge=1)]
Deals: TypeAlias = Annotated[float, Field(ge=0)]
Confidence: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
Days: TypeAlias = Annotated[float, Field(gt=0)]


@task(name="evaluate-history", cache_policy=NO_CACHE)
@in_one_line
def evaluate_history(
    source: HistorySource, stages: Sequence[Stage], options: RecalibrationOptions
) -> Recalibration:
    """Read the history of deals, and find out what it says of each stage.

    Args:
        source: The history.
        stages: All stages as they are now.
        options: How to read it, and how much evidence it takes to change a probability.

    Returns:
        An estimate and a decision for each stage.

    Raises:
        HistoryRefused: When anything is wrong with the history.
        SourceUnreadable: When its file cannot be read.
        ExtraMissing: When statsmodels is not installed.
    """
    history = judged_history(source.rows(), stages, options, now=datetime.now(UTC))
    result = recalibrated(history, stages, options)
    logger = get_run_logger()
    logger.info("%s: %d rows about %d deals", finding(result), result.rows, result.deals)
    for warning in result.warnings:
        logger.warning("%s", warning)
    return result


@bulk_flow("recalibrate-stage-probabilities")
def recalibrate_stage_probabilities(
    ruddr_credentials: RuddrCredentials,
    history: HistoryAsTyped,
    *,
    dry_run: bool = False,
    approval: Approval = "risky",
    as_of: datetime | None = None,
    window_days: AtLeastOne = 540,
    horizon_days: AtLeastOne = 365,
    min_known: AtLeastOne = 15,
    prior_weight: Deals = 10,
    confidence: Confidence = 0.8,
    min_change: ProbabilityChange = 0.01,
    stale_days: Days = 14,
    time_zone: str | None = None,
    renamed: Mapping[str, str] | None = None,
    unknown_stages: UnknownStages = "refuse",
    most_changes: AtLeastZero | None = None,
    risky_probability_change: ProbabilityChange = RISKY_PROBABILITY_CHANGE,
    approval_timeout_seconds: Seconds = 3600,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    encoding: str = "utf-8",
    delimiter: str = ",",
    allow_overlap: bool = False,
) -> Recalibration:
    """Set the win probability of each open stage to what really happened to deals.

    Reads the history of deals and all stages, estimates for each open stage how many of the deals
    that enter it are won, and writes the numbers that the evidence speaks against: plan, approval,
    one step for each change, report, as every run. `undo_stage_updates` with this flow run's id
    undoes it. A second run on the same history sends no PATCH.

    Before anything is written, the run publishes a table with a row for each stage, those that are
    left alone too, and a page with the backtest, the warnings and two pictures.

    It takes the extra `prefect-ruddr[recalibration]`.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        history: The history of deals, with a row for each entry of a deal into a stage. In the
            form it is a file, by its path where the flow runs or by a URL such as s3://…. From
            Python it may also be the rows of a query, or a frame.
        dry_run: Publish the plan and stop there, so that nothing is written.
        approval: When to wait for a person's yes to the plan. Never, always, or only for a risky
            plan: one in which a win probability moves by more than the step below, or more
            stages change than the most below.
        as_of: Evaluate what was known at this instant. Empty for the newest instant in the
            history.
        window_days: Deals count for a stage that they first entered in these last days.
        horizon_days: A deal counts as won where it is won within these days of its entry.
        min_known: How many fates of deals have to be known, or a stage is left alone.
        prior_weight: How many deals today's win probability counts for, beside the evidence.
        confidence: How sure the interval of an estimate is, between 0 and 1.
        min_change: By how much, from 0 to 1, a win probability has to move to be written.
        stale_days: How many days old the newest row may be. An older one says that the extract
            stands still, and the history is refused.
        time_zone: The time zone of instants without an offset, such as Europe/Berlin. Empty
            refuses such instants.
        renamed: Former names of stages, each with what the stage is called now.
        unknown_stages: Whether to refuse a history with rows of stages that do not exist, or to
            ignore such rows, which takes the columns outcome and closed_at.
        most_changes: How many stages may change. For more, a person is asked where approvals are
            on, and otherwise nothing is written. Empty for any number.
        risky_probability_change: By how much, from 0 to 1, a win probability may move without
            being risky.
        approval_timeout_seconds: How long to wait for the approval, in seconds.
        format: What kind of file the history is. Empty for what its name says.
        encoding: How a text file is encoded.
        delimiter: What separates the cells of a CSV file.
        allow_overlap: Whether to write while another run writes to the same workspace, instead
            of waiting for its end.

    Returns:
        An estimate, a decision and its reason for each stage, the backtests, the warnings, and
        in `report` what was written.

    Raises:
        HistoryRefused: When the history or an option cannot be; nothing is sent but reads.
        SourceUnreadable: When the file cannot be read.
        ExtraMissing: When statsmodels or matplotlib is not installed.
        StageUpdatesFailed: When any change was not written; its `report` is whole.
    """
    options = RecalibrationOptions(
        as_of=as_of,
        window_days=window_days,
        horizon_days=horizon_days,
        min_known=min_known,
        prior_weight=prior_weight,
        confidence=confidence,
        min_change=min_change,
        stale_days=stale_days,
        time_zone=time_zone or None,
        renamed=renamed or {},
        unknown_stages=unknown_stages,
        pipelines=ruddr_credentials.pipeline_names.ids,
    )
    stages = tuple(read_stages(ruddr_credentials, None).stages.values())
    source = HistorySource(history, format, encoding, delimiter)
    result = result_of(evaluate_history(source, stages, options, return_state=True))
    publish_recalibration(result)
    manner = Manner(
        "recalibrate stage probabilities",
        Question(approval, risky_probability_change, approval_timeout_seconds, most_changes),
        dry_run=dry_run,
        allow_overlap=allow_overlap,
    )
    report = carry_out(ruddr_credentials, FromRows(result.updates, Rules()), manner)
    return result.model_copy(update={"report": report})
