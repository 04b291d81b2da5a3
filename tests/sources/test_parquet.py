"""A Parquet file: typed cells, read in batches, with rows in place of lines."""

from __future__ import annotations

import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from pyarrow import parquet

from prefect_ruddr import SourceUnreadable
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.sources.parquet_rows import BATCH_ROWS

from .files import PIPELINE, A, B, C, asked, errors_in


@pytest.fixture
def stages_parquet(tmp_path: Path) -> Any:
    """Writes a table and returns the file's path."""

    def write(columns: dict[str, Any] | pa.Table, **options: Any) -> Path:
        path = tmp_path / "stages.parquet"
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        parquet.write_table(table, path, **options)
        return path

    return write


def test_typed_cells_are_taken_as_they_are(stages_parquet: Any) -> None:
    """Numbers, booleans, ids and dictionary-encoded texts need no conversion."""
    path = stages_parquet(
        {
            "id": pa.array([UUID(A).bytes, UUID(B).bytes], pa.uuid()),
            "probability": pa.array([Decimal("0.6250"), Decimal("1")], pa.decimal128(5, 4)),
            "statusId": pa.array(["open", "won"]).dictionary_encode(),
            "isActive": [True, False],
            "opportunity_pipeline_id": [PIPELINE, None],
        }
    )
    assert asked(read_source(path)) == [
        {
            "id": A,
            "probability": 0.625,
            "status_id": "open",
            "is_active": True,
            "opportunity_pipeline_id": PIPELINE,
        },
        {"id": B, "probability": 1.0, "status_id": "won", "is_active": False},
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, {"id": A, "name": "Won"}, id="leaves alone"),
        pytest.param(
            {"blank": "clear"}, {"id": A, "name": "Won", "description": None}, id="clears"
        ),
    ],
)
def test_a_null_is_a_blank(stages_parquet: Any, options: Any, expected: Any) -> None:
    """The rule is that of a blank CSV cell, also for NaN."""
    path = stages_parquet(
        {
            "id": [A],
            "name": ["Won"],
            "description": pa.array([None], pa.string()),
            "probability": [float("nan")],
        }
    )
    assert asked(read_source(path, **options)) == [expected]


def test_errors_name_the_row(stages_parquet: Any) -> None:
    """Counted from 1 over all batches and row groups."""
    count = 2 * BATCH_ROWS + 1
    probabilities = [0.5] * count
    probabilities[0] = probabilities[BATCH_ROWS] = probabilities[-1] = 1.5
    ids = [str(UUID(int=number, version=4)) for number in range(count)]
    path = stages_parquet({"id": ids, "probability": probabilities}, row_group_size=700)
    assert errors_in(path) == [
        f"stages.parquet row {row}: probability = 1.5: Input should be less than or equal to 1"
        for row in (1, BATCH_ROWS + 1, count)
    ]


def test_wrong_columns_are_wrong_for_the_whole_file(stages_parquet: Any) -> None:
    """Two columns of one name are two, though a mapping would hold one."""
    table = pa.Table.from_arrays([pa.array([text]) for text in (A, "a", "b")], ["id", "x", "x"])
    found = errors_in(stages_parquet(table), on_invalid="skip")
    assert [text.split(";")[0] for text in found] == [
        "stages.parquet: column 'x': no such column",
        "stages.parquet: column 'x': no such column",
        "stages.parquet: no column sets anything: name, description, probability, status_id,"
        " is_active, opportunity_pipeline_id",
    ]


def test_a_table_without_rows_is_nothing_to_do(stages_parquet: Any) -> None:
    """A query that found nothing is no error."""
    assert read_source(stages_parquet({"id": pa.array([], pa.string()), "name": []})) == []


def test_what_is_no_parquet_says_so(tmp_path: Path) -> None:
    """The name promises it, the content does not hold it."""
    path = tmp_path / "stages.parquet"
    path.write_text(f"id,name\n{C},Won\n", encoding="utf-8")
    with pytest.raises(SourceUnreadable, match=r"^stages\.parquet: Parquet magic bytes not found"):
        read_source(path)


def test_without_pyarrow_there_is_one_line_on_what_to_install(
    stages_parquet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an extra: who reads CSV does not need it."""
    path = stages_parquet({"id": [A], "name": ["Won"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        SourceUnreadable, match=r"Parquet needs pyarrow: pip install 'prefect-ruddr\[parquet\]'$"
    ):
        read_source(path)
