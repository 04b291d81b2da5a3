"""A warehouse with two years of deals, such as a CRM leaves them: an SQLite file, made up.

The deals do not do what the stages promise: some stages are won less often than their probability
says, others as often. Deals skip stages, go back, are re-opened, and some are never closed at all.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from prefect_ruddr import Stage

QUERY = """
    SELECT history.deal_id AS opportunity_id, history.stage_id, history.entered_at,
           deals.outcome, deals.closed_at
    FROM stage_history AS history JOIN deals ON deals.id = history.deal_id
"""
"""A row for each entry of a deal into a stage, with what became of the deal."""

TWO_YEARS = timedelta(days=730)
DEALS_IN_PIPELINE = (640, 420, 34)
"""How many deals the first, second and any later pipeline had in two years."""

RATES = ((1.0, 0.8, 0.62, 0.8, 1.0), (1.0,), (0.7,))
"""How often deals are won that enter a stage: as a share of what the stage promises."""

DEAD, SKIPPED, WENT_BACK, REOPENED = 0.1, 0.08, 0.07, 0.03
"""How many deals that come no further are never closed, and how many do each of the others."""


class Entry(NamedTuple):
    """A deal's entry into a stage."""

    at: datetime
    stage: Stage


def make_warehouse(path: Path, stages: Sequence[Stage], now: datetime, seed: int = 3) -> None:
    """Fill an SQLite file with the deals of two years, the same ones for the same seed.

    Args:
        path: The file; it must not be there yet.
        stages: The stages of the workspace as they are now.
        now: Nothing is known that happens later.
        seed: Decides what becomes of the deals.
    """
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(
            "CREATE TABLE deals (id TEXT PRIMARY KEY, outcome TEXT, closed_at TEXT);"
            "CREATE TABLE stage_history (deal_id TEXT, stage_id TEXT, entered_at TEXT);"
        )
        for number, entries in enumerate(deals(stages, now, seed), 1):
            deal = f"D-{number:05}"
            known = [entry for entry in entries if entry.at <= now]
            last = known[-1]
            closed = (last.stage.status_id, last.at.isoformat())
            is_open = last.stage.status_id == "open"
            connection.execute(
                "INSERT INTO deals VALUES (?, ?, ?)",
                (deal, *((None, None) if is_open else closed)),
            )
            connection.executemany(
                "INSERT INTO stage_history VALUES (?, ?, ?)",
                [(deal, str(entry.stage.id), entry.at.isoformat()) for entry in known],
            )


def deals(stages: Sequence[Stage], now: datetime, seed: int) -> Iterator[list[Entry]]:
    """Yield what happens to each deal, also after now."""
    random = Random(seed)  # noqa: S311 - sample data, nothing secret
    pipelines = defaultdict(list)
    for stage in stages:
        pipelines[stage.opportunity_pipeline_id].append(stage)
    for number, members in enumerate(pipelines.values()):
        ways = sorted(
            (stage for stage in members if stage.status_id == "open" and stage.is_active),
            key=lambda stage: stage.probability,
        )
        ends = {stage.status_id: stage for stage in members if stage.status_id != "open"}
        if not ways or set(ends) != {"won", "lost"}:
            continue
        shares = RATES[min(number, len(RATES) - 1)]
        rates = [
            stage.probability * shares[min(place, len(shares) - 1)]
            for place, stage in enumerate(ways)
        ]
        for _ in range(DEALS_IN_PIPELINE[min(number, len(DEALS_IN_PIPELINE) - 1)]):
            born = now - TWO_YEARS * random.random()
            yield list(_way(random, ways, rates, ends, born))


def _way(
    random: Random,
    ways: Sequence[Stage],
    rates: Sequence[float],
    ends: Mapping[Literal["won", "lost"], Stage],
    born: datetime,
) -> Iterator[Entry]:
    """Yield the stages that a deal enters."""
    at = born
    first = random.choices(range(len(ways)), [0.5**place for place in range(len(ways))])[0]
    for place in count(first):
        if place == first or random.random() > SKIPPED:
            yield Entry(at, ways[place])
        if place > first and random.random() < WENT_BACK:
            at += _days(random, 9)
            yield Entry(at, ways[place - 1])
            at += _days(random, 9)
            yield Entry(at, ways[place])
        at += _days(random, 21)
        last = place == len(ways) - 1
        if random.random() < rates[place] / (1 if last else max(rates[place], rates[place + 1])):
            if last:
                yield Entry(at, ends["won"])
                return
            continue
        if random.random() > DEAD:
            yield Entry(at, ends["lost"])
            if random.random() < REOPENED:
                yield Entry(at + _days(random, 30), ways[place])
                yield Entry(at + _days(random, 30) + timedelta(days=60), ends["lost"])
        return


def _days(random: Random, mean: float) -> timedelta:
    return timedelta(minutes=round(random.gammavariate(2, mean / 2) * 24 * 60) + 1)
