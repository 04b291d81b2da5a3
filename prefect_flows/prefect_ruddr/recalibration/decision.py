"""Decides about one stage: what to write, or why to leave it alone. Pure."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from attrs import frozen

from prefect_ruddr.recalibration.estimate import Evidence
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import Decision
from prefect_ruddr.stages.stage import Stage

LOWEST, HIGHEST = 0.01, 0.99
"""Between these an open stage is kept: nothing is sure before it is closed."""

ENOUGH_KNOWN = 0.75
"""Fates of how many entries have to be known where no deal was followed for the horizon."""

_FOUR_PLACES = Decimal("0.0001")


@frozen
class Decided:
    """A decision.

    Attributes:
        decision: What is decided.
        reason: Why, in words.
        proposed: The probability to write; None to leave the stage alone.
    """

    decision: Decision
    reason: str
    proposed: float | None = None


def decided(stage: Stage, evidence: Evidence | None, options: RecalibrationOptions) -> Decided:
    """Decide about a stage; the first rule that applies is the reason.

    Args:
        stage: The stage as it is now.
        evidence: What its deals say; None where no deal entered it.
        options: How much evidence it takes.
    """
    if stage.status_id != "open":
        fixed = 1 if stage.status_id == "won" else 0
        return Decided("fixed", f"a {stage.status_id} stage is fixed at {fixed}")
    if not stage.is_active:
        return Decided("inactive", "inactive: no deal enters it any more")
    if evidence is None:
        return Decided("no_deals", f"no deal entered it in the last {options.window_days} days")
    return _too_little(evidence, options) or _by_evidence(stage.probability, evidence, options)


def held(decision: Decided, old: float) -> Decided:
    """Return what becomes of a change where the backtest is clearly worse."""
    if decision.proposed is None:
        return decision
    return Decided(
        "held",
        f"{number(decision.proposed)} is held back: the backtest of this pipeline is clearly"
        f" worse than with {number(old)}",
    )


def target(live: float, evidence: Evidence, prior_weight: float) -> float:
    """Return the probability that live value and evidence come to, with four decimals.

    Today's value counts as `prior_weight` deals. The result lies in the interval, so that a
    second run on the same rows finds nothing to do.
    """
    known = evidence.known
    blend = (known * evidence.estimate + prior_weight * live) / (known + prior_weight)
    low = _rounded(evidence.low, ROUND_CEILING)
    high = _rounded(evidence.high, ROUND_FLOOR)
    return min(max(min(max(round(blend, 4), low), high), LOWEST), HIGHEST)


def number(value: float) -> str:
    """Return a probability with two to four decimals, as many as it has."""
    text = f"{value:.4f}".rstrip("0")
    return text.ljust(text.index(".") + 3, "0")


def interval(low: float, high: float, beside: float) -> str:
    """Return an interval with two decimals, or four where two would hide which side one is on."""
    inside = low <= beside <= high
    places = 2 if inside == (round(low, 2) <= beside <= round(high, 2)) else 4
    return f"{low:.{places}f} to {high:.{places}f}"


def _too_little(evidence: Evidence, options: RecalibrationOptions) -> Decided | None:
    if evidence.known < options.min_known:
        return Decided("too_few", f"{evidence.known} known fates, {options.min_known} needed")
    if evidence.longest < options.horizon_days and evidence.known < ENOUGH_KNOWN * evidence.entered:
        still_open = evidence.entered - evidence.wins - evidence.losses
        return Decided(
            "too_early",
            f"followed {evidence.longest:.0f} days at most,"
            f" {still_open} of {evidence.entered} still open: too early",
        )
    return None


def _by_evidence(live: float, evidence: Evidence, options: RecalibrationOptions) -> Decided:
    low, high = evidence.low, evidence.high
    ends = interval(low, high, live)
    if low <= live <= high:
        return Decided("agrees", f"{number(live)} agrees with the evidence ({ends})")
    proposed = target(live, evidence, options.prior_weight)
    if proposed == live or abs(proposed - live) < options.min_change:
        return Decided(
            "too_small",
            f"{number(live)} to {number(proposed)} is less than {number(options.min_change)}",
        )
    return Decided(
        "changed",
        f"{number(live)} lies outside {ends}:"
        f" {evidence.estimate * 100:.0f} % of {evidence.entered} deals",
        proposed,
    )


def _rounded(value: float, direction: str) -> float:
    return float(Decimal(value).quantize(_FOUR_PLACES, direction))
