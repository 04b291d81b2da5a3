"""How the same procedure would have done a horizon ago, in one pipeline. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import log, sqrt
from uuid import UUID

from prefect_ruddr.recalibration.deals import History
from prefect_ruddr.recalibration.decision import decided
from prefect_ruddr.recalibration.estimate import Cohort, cohorts, evidence
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import Backtest, NoBacktest, Score, StageForecast, Verdict
from prefect_ruddr.stages.stage import Stage

CLEARLY = 1.28
"""How many standard errors a difference has to have: four of five such are no accident."""

NEVER_SURE = 0.0001
"""How far from 0 and 1 a forecast counts at least, where its logarithm is taken."""


def backtests(
    history: History,
    pipelines: Mapping[UUID | None, Sequence[Stage]],
    options: RecalibrationOptions,
) -> dict[UUID | None, Backtest | NoBacktest]:
    """Return the backtest of each pipeline, by its id.

    What was known one horizon ago makes the new numbers; the deals that entered a stage since
    test them and the old ones. Open deals count for what they tell: closed ones alone would
    flatter whatever calls slow winners lost.

    Args:
        history: The deals.
        pipelines: The open stages of each pipeline.
        options: How the new numbers are made.
    """
    as_of, horizon = history.as_of, options.horizon
    since = as_of - horizon
    before = cohorts(
        history.deals, since=since - options.window, until=since, as_of=since, horizon=horizon
    )
    after = cohorts(history.deals, since=since, until=as_of, as_of=as_of, horizon=horizon)
    still_open = open_deals(history, since)
    found: dict[UUID | None, Backtest | NoBacktest] = {}
    for pipeline_id, stages in pipelines.items():
        called = options.pipeline_text(pipeline_id)
        forecasts = _forecasts(stages, before, after, options)
        if isinstance(forecasts, str):
            begins = f"the history begins {history.oldest:%Y-%m-%d}"
            reason = f"no backtest: {begins}, and {forecasts} {since:%Y-%m-%d}"
            found[pipeline_id] = NoBacktest(pipeline_id=pipeline_id, pipeline=called, reason=reason)
            continue
        numbers, tested = forecasts
        difference, error = compared(tested)
        waiting = [(stage, *still_open[stage.id]) for stage in stages if stage.id in still_open]
        found[pipeline_id] = Backtest(
            pipeline_id=pipeline_id,
            pipeline=called,
            since=since,
            stages=tuple(tested),
            old=score([(test.deals, test.old, test.happened) for test in tested]),
            new=score([(test.deals, test.new, test.happened) for test in tested]),
            difference=difference,
            standard_error=error,
            verdict=_verdict(difference, error),
            open_deals=sum(count for _, count, _ in waiting),
            open_won=sum(won for _, _, won in waiting),
            open_expected_old=sum(stage.probability * count for stage, count, _ in waiting),
            open_expected_new=sum(numbers[stage.id] * count for stage, count, _ in waiting),
        )
    return found


def score(forecasts: Iterable[tuple[int, float, float]]) -> Score:
    """Score forecasts.

    Args:
        forecasts: For each stage, how many deals entered it, the forecast, and the share of
            them that was won.

    Examples:
        >>> score([(30, 0.5, 0.4), (10, 0.8, 0.8)]).brier
        0.2275
    """
    listed = list(forecasts)
    total = sum(deals for deals, _, _ in listed)
    mean = sum(deals * happened for deals, _, happened in listed) / total
    reliability = sum(deals * (said - happened) ** 2 for deals, said, happened in listed) / total
    resolution = sum(deals * (happened - mean) ** 2 for deals, _, happened in listed) / total
    uncertainty = mean * (1 - mean)
    return Score(
        brier=round(reliability - resolution + uncertainty, 12),
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        log_loss=sum(deals * _log_loss(said, happened) for deals, said, happened in listed) / total,
    )


def compared(tested: Sequence[StageForecast]) -> tuple[float, float]:
    """Return by how much the new numbers are worse, in Brier, and the standard error."""
    total = sum(test.deals for test in tested)
    difference = variance = 0.0
    for test in tested:
        weight = test.deals / total
        step = test.new - test.old
        difference += weight * step * (test.new + test.old - 2 * test.happened)
        variance += (2 * weight * step) ** 2 * test.variance
    return difference, sqrt(variance)


def open_deals(history: History, instant: datetime) -> dict[UUID, tuple[int, int]]:
    """Return how many deals were open in each stage at an instant, and how many are won now."""
    found: dict[UUID, tuple[int, int]] = {}
    for deal in history.deals:
        then, now = deal.until(instant), deal.until(history.as_of)
        if then and then[-1].stage_id is not None:
            count, won = found.get(then[-1].stage_id, (0, 0))
            found[then[-1].stage_id] = (count + 1, won + (now[-1].outcome == "won"))
    return found


def _forecasts(
    stages: Sequence[Stage],
    before: Mapping[UUID, Cohort],
    after: Mapping[UUID, Cohort],
    options: RecalibrationOptions,
) -> tuple[dict[UUID, float], list[StageForecast]] | str:
    """Return the numbers that would have been proposed, and the test of each; or why not."""
    numbers = {}
    tested = []
    anything_known = False
    for stage in stages:
        trained = before.get(stage.id)
        known = evidence(trained, options.horizon, options.confidence) if trained else None
        anything_known = anything_known or bool(known and known.known)
        proposed = decided(stage, known, options).proposed
        numbers[stage.id] = stage.probability if proposed is None else proposed
        cohort = after.get(stage.id)
        seen = evidence(cohort, options.horizon, options.confidence) if cohort else None
        if seen and seen.known:
            tested.append(
                StageForecast(
                    stage_id=stage.id,
                    name=stage.name,
                    deals=seen.entered,
                    happened=seen.estimate,
                    low=seen.low,
                    high=seen.high,
                    variance=seen.variance,
                    old=stage.probability,
                    new=numbers[stage.id],
                )
            )
    if not anything_known:
        return "no deal's fate was known on"
    return (numbers, tested) if tested else "no deal's fate is known of those that came after"


def _log_loss(said: float, happened: float) -> float:
    sure = min(max(said, NEVER_SURE), 1 - NEVER_SURE)
    return -(happened * log(sure) + (1 - happened) * log(1 - sure))


def _verdict(difference: float, error: float) -> Verdict:
    if abs(difference) <= CLEARLY * error:
        return "no clear difference"
    return "worse" if difference > 0 else "better"
