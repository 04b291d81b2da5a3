"""The SQL of the page gives the history, whatever shape a warehouse keeps it in."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import get_args

import pytest

from docs.pages import Page
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import Decision
from recalibration.histories import NOW, STAGES, Row, entry, judged, with_pair

PAGE = Page("docs/recalibration.md")
SQL = PAGE.marked("sql")
QUALIFICATION, DISCOVERY, _, WON, LOST = STAGES
NAMES = {str(one.id): one.name for one in STAGES}


def midnight(days: int) -> str:
    """Return the beginning of a day so many days ago."""
    return (NOW - timedelta(days=days)).date().isoformat()


ROWS: list[Row] = [
    entry(deal, into, NOW, entered_at=midnight(days))
    for deal, into, days in (
        ("A", QUALIFICATION, 40),
        ("A", DISCOVERY, 20),
        ("A", WON, 3),
        ("B", QUALIFICATION, 9),
        ("C", QUALIFICATION, 30),
        ("C", LOST, 5),
    )
]


@pytest.fixture
def warehouse() -> Iterator[sqlite3.Connection]:
    """A warehouse that keeps the same history in three shapes."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.row_factory = sqlite3.Row
        connection.executescript(
            "CREATE TABLE deals (id, created_at, stage, pipeline, outcome, closed_at);"
            "CREATE TABLE stage_history (deal_id, stage_id, entered_at);"
            "CREATE TABLE field_history (deal_id, field, old_value, new_value, changed_at);"
            "CREATE TABLE deal_snapshots (deal_id, stage, pipeline, day);"
        )
        pipeline = str(STAGES[0].opportunity_pipeline_id)
        deals: dict[str, list[Row]] = {}
        for row in with_pair(ROWS):
            deals.setdefault(row["opportunity_id"], []).append(row)
        for deal, rows in deals.items():
            names = [NAMES[row["stage_id"]] for row in rows]
            days = [row["entered_at"] for row in rows]
            last = rows[-1]
            connection.execute(
                "INSERT INTO deals VALUES (?, ?, ?, ?, ?, ?)",
                (deal, days[0], names[-1], pipeline, last["outcome"], last["closed_at"]),
            )
            connection.executemany(
                "INSERT INTO stage_history VALUES (?, ?, ?)",
                [(deal, row["stage_id"], row["entered_at"]) for row in rows],
            )
            changes = zip(names, names[1:], days[1:], strict=False)
            connection.executemany(
                "INSERT INTO field_history VALUES (?, 'stage', ?, ?, ?)",
                [(deal, *change) for change in changes],
            )
            connection.execute(
                "INSERT INTO field_history VALUES (?, 'amount', 1, 2, ?)", (deal, days[0])
            )
            snapshots = []
            for day in (midnight(ago) for ago in range(45, -1, -1)):
                entered = [name for name, since in zip(names, days, strict=True) if since <= day]
                snapshots += [(deal, name, pipeline, day) for name in entered[-1:]]
            connection.executemany("INSERT INTO deal_snapshots VALUES (?, ?, ?, ?)", snapshots)
        connection.execute(
            "INSERT INTO deal_snapshots VALUES ('old', 'Discovery', ?, ?)", (pipeline, midnight(45))
        )
        yield connection


@pytest.mark.parametrize("shape", ["stage history", "field history", "snapshots"])
def test_the_sql_of_the_page_gives_the_history(shape: str, warehouse: sqlite3.Connection) -> None:
    """From each shape the same deals with the same events."""
    rows = [dict(row) for row in warehouse.execute(SQL[shape])]
    found = judged(rows, time_zone="UTC")
    assert sorted(deal.events for deal in found.deals) == sorted(
        deal.events for deal in judged(ROWS, time_zone="UTC").deals
    )


def test_the_page_names_every_decision_and_every_default() -> None:
    """As the code has them."""
    cells = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE.text, re.MULTILINE)
    assert [name for name, _ in cells if name in get_args(Decision)] == list(get_args(Decision))
    options = RecalibrationOptions()
    defaults = {name: cell for name, cell in cells if re.fullmatch(r"[\d.]+", cell)}
    assert defaults == {name: f"{getattr(options, name):g}" for name in defaults}
    assert len(defaults) == 7
