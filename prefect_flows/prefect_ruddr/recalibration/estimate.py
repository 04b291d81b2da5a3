"""The share of deals that are won within the horizon, with its interval. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from attrs import define, field, frozen

from prefect_ruddr.errors import ExtraMissing
from prefect_ruddr.recalibration.deals import Deal, first_entries

if TYPE_CHECKING:
    from types import ModuleType

OPEN, WON, LOST = 0, 1, 2
_DAY = timedelta(days=1)


@define
class Cohort:
    """The deals that first entered a stage in some time, each followed to its end or ours.

    Attributes:
        days: How long each was followed: to its closing, to now, or for the horizon.
        fates: What it was then: open, won or lost.
        mature: How many entered a whole horizon ago or earlier.
    """

    days: list[float] = field(factory=list)
    fates: list[int] = field(factory=list)
    mature: int = 0


@frozen
class Evidence:
    """What is known of the deals of a cohort.

    Attributes:
        entered: How many there are.
        wins: How many were won within the horizon.
        losses: How many were lost within the horizon.
        still_open: How many were open after the whole horizon.
        mature: How many entered a whole horizon ago or earlier.
        longest: How many days the one was followed that was followed longest.
        estimate: The share that is won within the horizon.
        low: The lower end of its interval.
        high: The upper end of its interval.
        variance: Its variance.
    """

    entered: int
    wins: int
    losses: int
    still_open: int
    mature: int
    longest: float
    estimate: float
    low: float
    high: float
    variance: float

    @property
    def known(self) -> int:
        """How many fates are known: closed within the horizon, or followed for all of it."""
        return self.wins + self.losses + self.still_open


def cohorts(
    deals: Iterable[Deal],
    *,
    since: datetime,
    until: datetime,
    as_of: datetime,
    horizon: timedelta,
) -> dict[UUID, Cohort]:
    """Return the cohort of each stage.

    Args:
        deals: What happened to each deal.
        since: Entries after this instant count.
        until: Entries up to this instant count.
        as_of: What is known was known at this instant.
        horizon: How long a deal is followed.
    """
    found: dict[UUID, Cohort] = defaultdict(Cohort)
    for deal in deals:
        events = deal.until(as_of)
        if not events or events[-1].at <= since:
            continue
        last = events[-1]
        end = as_of if last.outcome is None else last.at
        fate = OPEN if last.outcome is None else WON if last.outcome == "won" else LOST
        for stage_id, entered in first_entries(events).items():
            if not since < entered <= until:
                continue
            followed = end - entered
            within = followed <= horizon
            cohort = found[stage_id]
            cohort.days.append(min(followed, horizon) / _DAY)
            cohort.fates.append(fate if within else OPEN)
            cohort.mature += as_of - entered >= horizon
    return dict(found)


def evidence(cohort: Cohort, horizon: timedelta, confidence: float) -> Evidence:
    """Estimate the share of a cohort that is won within the horizon.

    The estimate is the Aalen-Johansen cumulative incidence of "won" at the horizon: it uses
    young deals, and does not mistake open ones for lost. The interval is that of
    Beta(n p + 1/2, n (1 - p) + 1/2) for n known fates.

    Raises:
        ExtraMissing: When statsmodels is not installed.
    """
    wins, losses = cohort.fates.count(WON), cohort.fates.count(LOST)
    still_open = sum(
        fate == OPEN and days >= horizon / _DAY
        for days, fate in zip(cohort.days, cohort.fates, strict=True)
    )
    known = wins + losses + still_open
    share, variance = _won_share(cohort.days, cohort.fates)
    low, high = _interval(share, known, confidence)
    if not variance > 0:
        # None is known at 0 and 1, and where the last deal at risk is closed: a binomial's, and
        # half a deal away from being sure.
        sure = share if 0 < share < 1 else (share * known + 0.5) / (known + 1)
        variance = sure * (1 - sure) / max(known, 1)
    return Evidence(
        entered=len(cohort.days),
        wins=wins,
        losses=losses,
        still_open=still_open,
        mature=cohort.mature,
        longest=max(cohort.days, default=0.0),
        estimate=share,
        low=low,
        high=high,
        variance=variance,
    )


def _won_share(days: list[float], fates: list[int]) -> tuple[float, float]:
    """Return the cumulative incidence of "won" at the end, and its variance, maybe NaN."""
    if WON not in fates:
        return 0.0, 0.0
    numpy, estimator, _ = _libraries()
    # Where the last one at risk is closed, the standard error is 0 / 0.
    with numpy.errstate(all="ignore"):
        curve = estimator(numpy.asarray(days), numpy.asarray(fates))
    share = round(float(curve.cinc[WON - 1][-1]), 12)
    return min(share, 1.0), float(curve.cinc_se[WON - 1][-1]) ** 2


def _interval(share: float, known: int, confidence: float) -> tuple[float, float]:
    _, _, quantile = _libraries()
    won, other = known * share + 0.5, known * (1 - share) + 0.5
    tail = (1 - confidence) / 2
    low = 0.0 if share == 0 else float(quantile(won, other, tail))
    high = 1.0 if share == 1 else float(quantile(won, other, 1 - tail))
    return low, high


def _libraries() -> tuple[ModuleType, Any, Any]:
    """Load what takes two seconds to load, when it is used."""
    try:
        import numpy as np  # noqa: PLC0415
        from scipy.special import betaincinv  # type: ignore[import-untyped]  # noqa: PLC0415
        from statsmodels.duration.survfunc import (  # type: ignore[import-untyped]  # noqa: PLC0415
            CumIncidenceRight,
        )
    except ImportError:
        raise ExtraMissing(
            "Recalibrating needs statsmodels: pip install 'prefect-ruddr[recalibration]'"
        ) from None
    return np, CumIncidenceRight, betaincinv
