"""What a person should know before trusting the numbers; nothing of it blocks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from uuid import UUID

from prefect_ruddr.recalibration.deals import History
from prefect_ruddr.recalibration.estimate import Evidence, cohorts, evidence
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import StageEstimate
from prefect_ruddr.stages.stage import Stage

MANY_OPEN = 0.25
"""A larger share of deals that are open after the horizon is worth a warning."""


def cautions(
    history: History,
    pipelines: Mapping[UUID | None, Sequence[Stage]],
    known: Mapping[UUID, Evidence],
    estimates: Sequence[StageEstimate],
    options: RecalibrationOptions,
    *,
    reopened: int,
) -> Iterator[str]:
    """Yield the warnings, each a sentence that says what to do or to ask.

    Args:
        history: The deals.
        pipelines: The open stages of each pipeline.
        known: What the deals say of each stage.
        estimates: What is decided about each stage, by pipeline and probability.
        options: How the numbers are made.
        reopened: How many deals were re-opened.
    """
    yield from _falling(estimates, options)
    yield from _changed_process(history, pipelines, options)
    yield from _never_closed(pipelines, known, options)
    if reopened:
        yield f"{_deals(reopened)} re-opened: each counts as open until it is closed again."
    if history.ignored:
        yield f"{history.ignored} of {history.rows} rows are of stages that are not there: ignored."


def holds_another_value(stages: Iterable[Stage], options: RecalibrationOptions) -> Iterator[str]:
    """Yield a warning for each won or lost stage that is not at 1 or 0."""
    for stage in stages:
        if stage.status_id != "open" and stage.probability != (stage.status_id == "won"):
            right = 1 if stage.status_id == "won" else 0
            where = options.pipeline_text(stage.opportunity_pipeline_id)
            yield (
                f"{stage.name} ({where}) is a {stage.status_id} stage but holds"
                f" {stage.probability:g}, not {right}: set it by hand."
            )


def _falling(estimates: Sequence[StageEstimate], options: RecalibrationOptions) -> Iterator[str]:
    judged = [
        one
        for one in estimates
        if one.decision not in {"fixed", "inactive"} and one.known >= options.min_known
    ]
    for one, other in pairwise(judged):
        if (
            one.pipeline_id == other.pipeline_id
            and one.old < other.old
            and (one.estimate or 0) > (other.estimate or 0)
        ):
            yield (
                f"{other.name} ({other.pipeline}) stands at {other.old:g}, above {one.name} at"
                f" {one.old:g}, but fewer of its deals are won: {other.estimate:.0%} against"
                f" {one.estimate:.0%}."
            )


def _changed_process(
    history: History,
    pipelines: Mapping[UUID | None, Sequence[Stage]],
    options: RecalibrationOptions,
) -> Iterator[str]:
    """Compare the halves of the window, both followed no longer than the second half can be."""
    as_of, window = history.as_of, options.window
    horizon = min(options.horizon, window / 2)
    halves = [
        cohorts(history.deals, since=since, until=since + window / 2, as_of=as_of, horizon=horizon)
        for since in (as_of - window, as_of - window / 2)
    ]
    for pipeline_id, stages in pipelines.items():
        for stage in stages:
            found = [
                evidence(half[stage.id], horizon, options.confidence)
                for half in halves
                if stage.id in half
            ]
            if len(found) < len(halves) or any(one.known < options.min_known for one in found):
                continue
            first, second = found
            if first.high < second.low or second.high < first.low:
                yield (
                    f"{stage.name} ({options.pipeline_text(pipeline_id)}): within"
                    f" {horizon.days} days {first.low:.0%} to {first.high:.0%} are won in the first"
                    f" half of the window, {second.low:.0%} to {second.high:.0%} in the second:"
                    " the process changed: a shorter window_days?"
                )


def _never_closed(
    pipelines: Mapping[UUID | None, Sequence[Stage]],
    known: Mapping[UUID, Evidence],
    options: RecalibrationOptions,
) -> Iterator[str]:
    for pipeline_id, stages in pipelines.items():
        found = [known[stage.id] for stage in stages if stage.id in known]
        mature = sum(one.mature for one in found)
        still_open = sum(one.still_open for one in found)
        if mature >= options.min_known and still_open > MANY_OPEN * mature:
            yield (
                f"{options.pipeline_text(pipeline_id)}: {still_open} of {mature} entries that were"
                f" followed for {options.horizon_days} days were still open then: close dead deals."
            )


def _deals(number: int) -> str:
    return "1 deal was" if number == 1 else f"{number} deals were"
