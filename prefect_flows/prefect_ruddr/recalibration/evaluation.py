"""From a judged history to a proposal for every stage. Pure: no I/O, no Prefect."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from prefect_ruddr.recalibration.backtest import backtests
from prefect_ruddr.recalibration.cautions import cautions, holds_another_value
from prefect_ruddr.recalibration.deals import History, was_reopened
from prefect_ruddr.recalibration.decision import decided, held
from prefect_ruddr.recalibration.estimate import Evidence, cohorts, evidence
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import Backtest, Recalibration, StageEstimate
from prefect_ruddr.stages.stage import Stage


def recalibrated(
    history: History, stages: Iterable[Stage], options: RecalibrationOptions
) -> Recalibration:
    """Return what the deals say of each stage, and what is decided about it.

    Args:
        history: The deals, as `judged_history` gives them for the same stages.
        stages: All stages as they are now.
        options: How much evidence it takes to change a probability.

    Raises:
        ExtraMissing: When statsmodels is not installed.
    """
    listed = sorted(
        stages,
        key=lambda stage: (
            options.pipeline_text(stage.opportunity_pipeline_id),
            str(stage.opportunity_pipeline_id),
            stage.status_id != "open",
            stage.probability,
            stage.name,
            stage.id,
        ),
    )
    pipelines: dict[UUID | None, list[Stage]] = defaultdict(list)
    for stage in listed:
        if stage.status_id == "open":
            pipelines[stage.opportunity_pipeline_id].append(stage)
    since, as_of = history.as_of - options.window, history.as_of
    entered = cohorts(history.deals, since=since, until=as_of, as_of=as_of, horizon=options.horizon)
    known = {
        stage_id: evidence(cohort, options.horizon, options.confidence)
        for stage_id, cohort in entered.items()
    }
    tests = backtests(history, pipelines, options)
    worse = {
        pipeline_id
        for pipeline_id, test in tests.items()
        if isinstance(test, Backtest) and test.verdict == "worse"
    }
    estimates = [
        _estimate(
            stage,
            known.get(stage.id),
            options,
            hold=stage.opportunity_pipeline_id in worse,
        )
        for stage in listed
    ]
    reopened = sum(was_reopened(deal.until(as_of)) for deal in history.deals)
    return Recalibration(
        as_of=as_of,
        window_days=options.window_days,
        horizon_days=options.horizon_days,
        confidence=options.confidence,
        rows=history.rows,
        deals=len(history.deals),
        reopened=reopened,
        stages=tuple(estimates),
        warnings=(
            *holds_another_value(listed, options),
            *cautions(history, pipelines, known, estimates, options, reopened=reopened),
        ),
        backtests=tuple(tests.values()),
    )


def _estimate(
    stage: Stage, known: Evidence | None, options: RecalibrationOptions, *, hold: bool
) -> StageEstimate:
    decision = decided(stage, known, options)
    if hold:
        decision = held(decision, stage.probability)
    return StageEstimate(
        stage_id=stage.id,
        pipeline_id=stage.opportunity_pipeline_id,
        pipeline=options.pipeline_text(stage.opportunity_pipeline_id),
        name=stage.name,
        entered=known.entered if known else 0,
        wins=known.wins if known else 0,
        losses=known.losses if known else 0,
        open=known.entered - known.wins - known.losses if known else 0,
        known=known.known if known else 0,
        estimate=known.estimate if known else None,
        low=known.low if known else None,
        high=known.high if known else None,
        old=stage.probability,
        proposed=decision.proposed,
        decision=decision.decision,
        reason=decision.reason,
    )
