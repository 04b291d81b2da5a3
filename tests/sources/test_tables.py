"""Frames and the rows of queries go straight in, by the same rule as the cells of a file."""

from __future__ import annotations

import sqlite3
from collections import namedtuple
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest
from prefect import flow
from prefect_sqlalchemy import (  # type: ignore[import-untyped]
    ConnectionComponents,
    SqlAlchemyConnector,
    SyncDriver,
)

from prefect_ruddr import InvalidStageUpdates, Stage, plan_stage_updates, stage_rows
from prefect_ruddr.runs.intake import intake

from .files import A, B, C, asked

ROWS: list[dict[str, Any]] = [
    {"id": A, "name": "Won", "description": None, "probability": 1.0, "isActive": True},
    {"id": B, "name": None, "description": "Wait.", "probability": None, "isActive": None},
    {"id": C, "name": None, "description": None, "probability": 0.5, "isActive": False},
]
EXPECTED = [
    {"id": A, "name": "Won", "probability": 1.0, "is_active": True},
    {"id": B, "description": "Wait."},
    {"id": C, "probability": 0.5, "is_active": False},
]

Row = namedtuple("Row", list(ROWS[0]))  # type: ignore[misc]  # as drivers make them


READ = [
    Stage(
        id=UUID(stage_id),
        name=f"Stage {number}",
        description=None if number else "First.",
        probability=0.25,
        status_id="open",
        is_active=True,
        opportunity_pipeline_id=None if number else UUID(C),
        created_at=datetime(2025, 2, 10, tzinfo=UTC),
    )
    for number, stage_id in enumerate((A, B))
]


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, list])
@pytest.mark.parametrize("mode", ["json", "python"])
def test_a_frame_of_stages_that_were_read_changes_nothing(kind: Any, mode: Any) -> None:
    """With the column that nobody can set, and a pipeline that Ruddr left out of one of them."""
    judged = intake(stage_rows(kind([stage.model_dump(mode=mode) for stage in READ])))
    live = {stage.id: stage for stage in READ}
    judged.compare(live)
    assert judged.errors == {}
    assert plan_stage_updates(judged.updates, live, None).unchanged == tuple(live)


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(pd.DataFrame(ROWS), id="pandas"),
        pytest.param(pd.DataFrame(ROWS, dtype=object), id="pandas objects"),
        pytest.param(pd.DataFrame(ROWS).convert_dtypes(), id="pandas nullable"),
        pytest.param(pd.DataFrame(ROWS, index=["x", "y", "z"]), id="pandas with an index"),
        pytest.param(pl.DataFrame(ROWS), id="polars"),
        pytest.param(pd.DataFrame(ROWS).to_dict("records"), id="pandas records"),
        pytest.param(pl.DataFrame(ROWS).to_dicts(), id="polars records"),
        pytest.param(ROWS, id="mappings"),
        pytest.param([Row(**row) for row in ROWS], id="named tuples"),
        pytest.param((row for row in ROWS), id="a generator"),
    ],
)
def test_what_is_missing_is_left_alone_in_every_kind_of_table(table: Any) -> None:
    """None, NaN, NA and NaT are all of them blanks."""
    assert asked(stage_rows(table)) == EXPECTED


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(pd.DataFrame({"id": [A, B], "description": ["x", None]}), id="pandas"),
        pytest.param(pl.DataFrame({"id": [A, B], "description": ["x", None]}), id="polars"),
        pytest.param([{"id": A, "description": "x"}, {"id": B, "description": " "}], id="rows"),
        pytest.param([{"id": A, "description": "x"}, {"id": B, "description": pd.NaT}], id="NaT"),
    ],
)
def test_a_missing_description_clears_where_the_caller_says_so(table: Any) -> None:
    """The same word as for a file."""
    assert asked(stage_rows(table, blank="clear")) == [
        {"id": A, "description": "x"},
        {"id": B, "description": None},
    ]


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        pytest.param("probability", Decimal("0.6250"), 0.625, id="NUMERIC"),
        pytest.param("probability", np.float32(0.1), 0.1, id="float32"),
        pytest.param("probability", np.int64(1), 1.0, id="int64"),
        pytest.param("probability", "0.75", 0.75, id="text"),
        pytest.param("is_active", 1, True, id="1"),
        pytest.param("is_active", 0.0, False, id="0.0"),
        pytest.param("is_active", np.bool_(True), True, id="numpy's bool"),
        pytest.param("is_active", "no", False, id="no"),
        pytest.param("opportunity_pipeline_id", UUID(B), B, id="UUID"),
        pytest.param("name", np.str_("Won"), "Won", id="numpy's text"),
    ],
)
def test_cells_are_taken_as_databases_and_frames_have_them(
    field: str, cell: Any, value: Any
) -> None:
    """0 and 1 are booleans where there are no others; a decimal is a number."""
    assert asked(stage_rows([{"id": A, field: cell}])) == [{"id": A, field: value}]


@pytest.mark.parametrize(
    ("field", "cell", "error"),
    [
        pytest.param("is_active", 2, "is_active = 2: Input should be a valid boolean", id="2"),
        pytest.param(
            "probability", [0.5], "probability = [0.5]: Input should be a number", id="list"
        ),
        pytest.param(
            "probability",
            np.array([0.5, 0.6]),
            "probability = array([0.5, 0.6]): Input should be a number",
            id="array",
        ),
        pytest.param(
            "probability",
            np.float64(1.5),
            "probability = 1.5: Input should be less than or equal to 1",
            id="above 1",
        ),
        pytest.param("name", 2024, "name = 2024: Input should be a valid string", id="number"),
    ],
)
def test_a_wrong_cell_is_named_with_its_row(field: str, cell: Any, error: str) -> None:
    """Rows count from 1, blank ones too."""
    with pytest.raises(InvalidStageUpdates) as raised:
        stage_rows([{"id": B, "name": "x"}, {"id": " ", "name": None}, {"id": A, field: cell}])
    assert raised.value.errors[0].startswith(f"row 3: {error}")


def test_wrong_columns_are_wrong_for_the_whole_table() -> None:
    """Said once, not once for every row."""
    frame = pd.DataFrame({"id": [A, B], "name": ["a", "b"], "colour": ["red", "blue"]})
    with pytest.raises(InvalidStageUpdates) as raised:
        stage_rows(frame, on_invalid="skip")
    (error,) = raised.value.errors
    assert error.startswith("row 1: column 'colour': no such column; there are id, stage")


@pytest.mark.parametrize("row", [(A, 0.5), A, 7])
def test_rows_that_do_not_know_their_columns_are_refused(row: Any) -> None:
    """Nobody counts columns."""
    with pytest.raises(InvalidStageUpdates, match=r"row 1: .* does not know its columns"):
        stage_rows([row])


def test_wrong_rows_can_be_kept() -> None:
    """For a run that skips them and says so."""
    good, bad = stage_rows(
        [{"id": A, "name": "x"}, {"id": B, "name": "y" * 256}], on_invalid="skip"
    )
    assert (good.place, good.errors) == ("row 1", ())
    assert bad.errors[0].startswith("name = 'yyy")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite database with a forecast for each stage."""
    path = tmp_path / "forecast.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE forecast (id TEXT, name TEXT, description TEXT, probability REAL,"
            " isActive INTEGER)"
        )
        connection.executemany(
            "INSERT INTO forecast VALUES (:id, :name, :description, :probability, :isActive)", ROWS
        )
    connection.close()
    return path


def test_sqlite_rows_go_straight_in(database: Path) -> None:
    """The driver's own rows know their columns."""
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    assert asked(stage_rows(connection.execute("SELECT * FROM forecast"))) == EXPECTED
    connection.close()


@pytest.mark.usefixtures("prefect_api")
def test_what_prefect_sqlalchemy_fetches_goes_straight_in(database: Path) -> None:
    """A query, and its rows; a column may be renamed in the query."""

    @flow
    def forecast() -> list[Any]:
        connector = SqlAlchemyConnector(
            connection_info=ConnectionComponents(
                driver=SyncDriver.SQLITE_PYSQLITE, database=str(database)
            )
        )
        with connector as open_connector:
            fetched = open_connector.fetch_all(
                'SELECT id, name, description, probability, "isActive" AS is_active FROM forecast'
            )
        return asked(stage_rows(fetched))

    assert forecast() == EXPECTED


@pytest.mark.usefixtures("prefect_api")
def test_two_columns_of_one_name_are_noticed(database: Path) -> None:
    """A mapping of the row would hide one of them."""

    @flow
    def forecast() -> None:
        connector = SqlAlchemyConnector(
            connection_info=ConnectionComponents(
                driver=SyncDriver.SQLITE_PYSQLITE, database=str(database)
            )
        )
        with connector as open_connector:
            stage_rows(open_connector.fetch_all("SELECT id, name, name FROM forecast"))

    with pytest.raises(InvalidStageUpdates, match="row 1: column 'name' is there twice"):
        forecast()
