"""A recalibration as a table and as sentences, for people to read. Pure: no I/O, no Prefect."""

from __future__ import annotations

from collections import Counter

from prefect_ruddr.recalibration.decision import number
from prefect_ruddr.recalibration.result import Backtest, NoBacktest, Recalibration, StageEstimate

_VERDICTS = {
    "better": "the new numbers do clearly better",
    "worse": "the new numbers do clearly worse, so nothing is changed here",
    "no clear difference": "no clear difference between old and new numbers",
}


def stage_rows(recalibration: Recalibration) -> list[dict[str, str | int]]:
    """Return a row for each stage: first what is decided and why, then the evidence, then ids."""
    labels = stage_labels(recalibration)
    return [
        {
            "stage": label,
            "old": number(stage.old),
            "proposed": "" if stage.proposed is None else number(stage.proposed),
            "decision": stage.decision.replace("_", " "),
            "reason": stage.reason,
            "interval": _interval(stage),
            "entered": stage.entered,
            "won": stage.wins,
            "lost": stage.losses,
            "open": stage.open,
            "known fates": stage.known,
            "pipeline": stage.pipeline,
            "stage_id": str(stage.stage_id),
            "pipeline_id": str(stage.pipeline_id or ""),
        }
        for label, stage in zip(labels, recalibration.stages, strict=True)
    ]


def stage_labels(recalibration: Recalibration) -> list[str]:
    """Return what to call each stage; one of several of a name with its pipeline."""
    called = Counter(stage.name for stage in recalibration.stages)
    return [
        stage.name if called[stage.name] == 1 else f"{stage.name} ({stage.pipeline})"
        for stage in recalibration.stages
    ]


def finding(recalibration: Recalibration) -> str:
    """Return in a sentence how many stages change."""
    open_stages = [stage for stage in recalibration.stages if stage.decision != "fixed"]
    changed = sum(stage.proposed is not None for stage in open_stages)
    if not changed:
        return f"None of {len(open_stages)} open stages changes"
    verb = "changes" if changed == 1 else "change"
    return f"{changed} of {len(open_stages)} open stages {verb}"


def backtest_sentences(recalibration: Recalibration) -> list[str]:
    """Return for each pipeline what its backtest says.

    Args:
        recalibration: What a recalibration found.

    Returns:
        A sentence or two for each pipeline with open stages.
    """
    return [backtest_sentence(test) for test in recalibration.backtests]


def backtest_sentence(test: Backtest | NoBacktest) -> str:
    """Return what a backtest says, with its figures."""
    if isinstance(test, NoBacktest):
        return f"{test.pipeline}: {test.reason}."
    open_then = (
        f"Open at the beginning: {test.open_deals}, of which the old numbers expected to win"
        f" {test.open_expected_old:.0f}, the new ones {test.open_expected_new:.0f}; won since:"
        f" {test.open_won}."
    )
    begin = f"{test.pipeline}, tested on the deals since {test.since:%Y-%m-%d}:"
    if all(stage.old == stage.new for stage in test.stages):
        return (
            f"{begin} nothing would have been changed then (Brier {test.old.brier:.3f}, log loss"
            f" {test.old.log_loss:.3f}). {open_then}"
        )
    return (
        f"{begin} {_VERDICTS[test.verdict]} (Brier {test.old.brier:.3f} before,"
        f" {test.new.brier:.3f} after: {test.difference:+.3f} with a standard error of"
        f" {test.standard_error:.3f}; of it reliability {test.old.reliability:.3f} before,"
        f" {test.new.reliability:.3f} after, resolution {test.new.resolution:.3f}, uncertainty"
        f" {test.new.uncertainty:.3f}; log loss {test.old.log_loss:.3f} before,"
        f" {test.new.log_loss:.3f} after). {open_then}"
    )


def _interval(stage: StageEstimate) -> str:
    if stage.low is None or stage.high is None:
        return ""
    return f"{stage.low:.2f} to {stage.high:.2f}"
