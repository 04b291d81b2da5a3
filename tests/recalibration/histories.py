"""Made-up histories of deals whose true win rates are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any
from uuid import UUID, uuid5

from prefect_ruddr.recalibration.deals import History
from prefect_ruddr.recalibration.evaluation import recalibrated
from prefect_ruddr.recalibration.history import judged_history
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import Recalibration
from prefect_ruddr.stages.stage import Stage, StageStatus

Row = dict[str, Any]

NOW = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
NEW_BUSINESS = UUID("b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2")
RENEWALS = UUID("19488dec-4f65-44d9-a59f-4329e6f4590b")


def stage(
    name: str,
    probability: float,
    status: StageStatus = "open",
    *,
    pipeline: UUID | None = NEW_BUSINESS,
    active: bool = True,
) -> Stage:
    """Return a stage; its id follows from its name and its pipeline."""
    return Stage(
        id=uuid5(pipeline or NEW_BUSINESS, name),
        name=name,
        description=None,
        probability=probability,
        status_id=status,
        is_active=active,
        opportunity_pipeline_id=pipeline,
        created_at=NOW,
    )


def funnel(*probabilities: float, pipeline: UUID = NEW_BUSINESS) -> list[Stage]:
    """Return the stages of a pipeline: open ones with these probabilities, won and lost."""
    names = ["Qualification", "Discovery", "Proposal", "Negotiation", "Verbal Commit"]
    return [
        *(
            stage(name, probability, pipeline=pipeline)
            for name, probability in zip(names, probabilities, strict=False)
        ),
        stage("Won", 1.0, "won", pipeline=pipeline),
        stage("Lost", 0.0, "lost", pipeline=pipeline),
    ]


STAGES = funnel(0.25, 0.5, 0.75)


def simulated(
    seed: int,
    rates: Sequence[float],
    *,
    deals: int = 600,
    stages: Sequence[Stage] = STAGES,
    days: int = 1000,
    winning: tuple[float, float] = (40, 110),
    losing: tuple[float, float] = (3, 25),
    dead: float = 0.0,
    until: datetime = NOW,
) -> list[Row]:
    """Return rows without the pair of a pipeline in which a stage's deals are won at a known rate.

    Args:
        seed: Decides what becomes of the deals.
        rates: The true rate of each open stage, rising.
        deals: How many enter the first stage.
        stages: Open stages in order, then won and lost.
        days: Over how many days before `until` they enter it.
        winning: How many days a deal spends in a stage that it leaves for the next one.
        losing: How many in one in which it is lost.
        dead: How many of those that come no further are never closed.
        until: When the last ones enter it. What happens after now is in no row.
    """
    random = Random(seed)  # noqa: S311 - a simulation, nothing secret
    open_stages = [one for one in stages if one.status_id == "open"]
    [won] = [one for one in stages if one.status_id == "won"]
    [lost] = [one for one in stages if one.status_id == "lost"]
    steps = [rate / after for rate, after in pairwise([*rates, 1.0])]
    rows: list[Row] = []
    for deal in range(deals):
        at = until - timedelta(days=days * random.random())
        for one, step in zip(open_stages, steps, strict=True):
            rows.append(entry(f"D-{deal}", one, at))
            goes_on = random.random() < step
            at += timedelta(days=random.uniform(*(winning if goes_on else losing)))
            if not goes_on:
                break
        if goes_on or random.random() >= dead:
            rows.append(entry(f"D-{deal}", won if goes_on else lost, at))
    return [row for row in rows if row["entered_at"] <= NOW]


def renewals(rows: Sequence[Row]) -> list[Row]:
    """Return the rows as those of other deals."""
    return [{**row, "opportunity_id": f"R-{row['opportunity_id']}"} for row in rows]


def entry(deal: str, into: Stage, at: datetime, **more: Any) -> Row:
    """Return a row: a deal enters a stage."""
    return {"opportunity_id": deal, "stage_id": str(into.id), "entered_at": at, **more}


def with_pair(rows: Sequence[Row], stages: Sequence[Stage] = STAGES) -> list[Row]:
    """Return the same history in the other form: outcome and closing on every row of a deal."""
    status = {str(one.id): one.status_id for one in stages}
    last: dict[str, Row] = {}
    for row in rows:
        deal = row["opportunity_id"]
        if deal not in last or _order(row, status) >= _order(last[deal], status):
            last[deal] = row

    def pair(deal: str) -> Row:
        ends = status[last[deal]["stage_id"]]
        if ends == "open":
            return {"outcome": None, "closed_at": None}
        return {"outcome": ends, "closed_at": last[deal]["entered_at"]}

    return [{**row, **pair(row["opportunity_id"])} for row in rows]


def _order(row: Row, status: Mapping[str, str]) -> tuple[datetime, bool]:
    return row["entered_at"], status[row["stage_id"]] != "open"


def judged(
    rows: Sequence[Mapping[str, Any]], stages: Sequence[Stage] = STAGES, **options: Any
) -> History:
    """Judge rows as of now."""
    return judged_history(rows, stages, RecalibrationOptions(**options), now=NOW)


def recalibration(
    rows: Sequence[Mapping[str, Any]], stages: Sequence[Stage] = STAGES, **options: Any
) -> Recalibration:
    """Judge and evaluate rows as of now."""
    return recalibrated(judged(rows, stages, **options), stages, RecalibrationOptions(**options))


def open_estimates(found: Recalibration) -> Iterator[float]:
    """Yield the estimates of the stages that have one, from the first stage to the last."""
    for one in found.stages:
        if one.estimate is not None:
            yield one.estimate
