"""Rows as they stand, whatever they are about: what the history of deals is read with."""

from __future__ import annotations

import json
import sqlite3
from collections import namedtuple
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from prefect_ruddr import InvalidStageUpdates, SourceUnreadable
from prefect_ruddr.sources.files import read_rows
from prefect_ruddr.sources.rows import RawRow
from prefect_ruddr.sources.tables import table_rows

HISTORY: list[dict[str, Any]] = [
    {"opportunity_id": "o1", "stage": "Discovery", "entered_at": "2026-01-31", "outcome": "won"},
    {"opportunity_id": "o2", "stage": " Won ", "entered_at": "2026-02-01", "outcome": None},
]
TEXTS = [{key: value or "" for key, value in row.items()} for row in HISTORY]


def values(rows: Any) -> list[Any]:
    """Return what rows hold; they have to be right."""
    listed = list(rows)
    assert [row.errors for row in listed] == [()] * len(listed)
    return [dict(row.values) for row in listed]


def test_csv_cells_are_texts(tmp_path: Path) -> None:
    """Blank ones too; a blank line is no row."""
    path = tmp_path / "history.csv"
    lines = [",".join(HISTORY[0]), *(",".join(row.values()) for row in TEXTS[:1]), "", ",,,"]
    path.write_text("\n".join([*lines, *(",".join(row.values()) for row in TEXTS[1:])]))
    assert values(read_rows(path)) == TEXTS
    assert [row.place for row in read_rows(path)] == ["history.csv line 2", "history.csv line 5"]
    path.write_text("\n".join(lines).replace(",", ";"))
    assert values(read_rows(path, delimiter=";")) == TEXTS[:1]


def test_json_lines_parquet_and_yaml_are_typed(tmp_path: Path) -> None:
    """A value is what it is in the file."""
    lines = tmp_path / "history.jsonl"
    lines.write_text("\n".join(map(json.dumps, HISTORY)))
    assert values(read_rows(lines)) == HISTORY
    columns = tmp_path / "history.parquet"
    dated = [row | {"entered_at": date.fromisoformat(row["entered_at"])} for row in HISTORY]
    parquet.write_table(pa.Table.from_pylist(dated), columns)
    assert values(read_rows(columns)) == dated
    code = tmp_path / "history.yaml"
    code.write_text(json.dumps(HISTORY))
    assert values(read_rows(code)) == HISTORY


def test_rows_come_while_the_file_is_read(tmp_path: Path) -> None:
    """A history is longer than memory: what is wrong behind is met when one gets there."""
    path = tmp_path / "history.csv"
    path.write_text('stage\nWon\n"open')
    rows = read_rows(path)
    assert next(rows) == RawRow({"stage": "Won"}, "history.csv line 2")
    with pytest.raises(SourceUnreadable, match=r"^history\.csv line 3: unexpected end of data"):
        next(rows)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param("stage,\n", "line 1: column 2 has no name", id="no name"),
        pytest.param("stage,stage\n", "line 1: column 'stage' is there twice", id="twice"),
        pytest.param("", "no header", id="no header"),
        pytest.param("stage;outcome\n", "give delimiter=';'", id="semicolons"),
    ],
)
def test_a_file_that_cannot_be_told_is_unreadable(tmp_path: Path, content: str, error: str) -> None:
    """One line that says where."""
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(SourceUnreadable, match=error):
        list(read_rows(path))


def test_a_row_that_is_wrong_as_a_row_says_so(tmp_path: Path) -> None:
    """The others are read; whoever judges them decides."""
    path = tmp_path / "history.csv"
    path.write_bytes(b"stage,outcome\nWon\nCaf\xe9,won\nLost,lost\n")
    ragged, undecoded, good = read_rows(path)
    assert (ragged.values, ragged.errors) == ({}, ("1 cells, but there are 2 columns",))
    assert undecoded.errors[0].startswith("byte 0xE9")
    assert (good.values, good.errors) == ({"stage": "Lost", "outcome": "lost"}, ())


Row = namedtuple("Row", list(HISTORY[0]))  # type: ignore[misc]  # as drivers make them


def _sqlite() -> list[Any]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute("CREATE TABLE history (opportunity_id, stage, entered_at, outcome)")
    connection.executemany(
        "INSERT INTO history VALUES (:opportunity_id, :stage, :entered_at, :outcome)", HISTORY
    )
    rows = connection.execute("SELECT * FROM history").fetchall()
    connection.close()
    return rows


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(pd.DataFrame(HISTORY, dtype=object), id="pandas"),
        pytest.param(pl.DataFrame(HISTORY), id="polars"),
        pytest.param(HISTORY, id="mappings"),
        pytest.param([Row(**row) for row in HISTORY], id="named tuples"),
        pytest.param(_sqlite(), id="sqlite"),
        pytest.param((row for row in HISTORY), id="a generator"),
    ],
)
def test_frames_and_queries_go_straight_in(table: Any) -> None:
    """By the names of their columns."""
    assert values(table_rows(table)) == HISTORY
    assert [row.place for row in table_rows(HISTORY)] == ["row 1", "row 2"]


@pytest.mark.parametrize(
    ("table", "error"),
    [
        pytest.param(7, "7 is no table", id="no table"),
        pytest.param([(1, 2)], "does not know its columns", id="plain tuples"),
        pytest.param(pd.DataFrame([[1, 2]], columns=["a", "a"]), "'a' is there twice", id="twice"),
    ],
)
def test_what_is_no_table_says_so(table: Any, error: str) -> None:
    """In one line."""
    with pytest.raises(InvalidStageUpdates, match=error):
        list(table_rows(table))
