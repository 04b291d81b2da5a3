"""Updates that are written to a file are read back as they were, in every format."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from prefect_ruddr import InvalidStageUpdates, StageUpdate, stage_rows
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.stages.stage import FIELD_NAMES

MARKER = "\\N"
COLUMNS = ("id", *FIELD_NAMES)

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda text: text.strip() and text != MARKER
)
updates = (
    st.fixed_dictionaries(
        {"id": st.uuids(version=4)},
        optional={
            "name": texts,
            "description": st.none() | texts,
            "probability": st.integers(0, 10_000).map(lambda number: number / 10_000),
            "status_id": st.sampled_from(["open", "won", "lost"]),
            "is_active": st.booleans(),
            "opportunity_pipeline_id": st.uuids(version=4),
        },
    )
    .filter(lambda fields: len(fields) > 1)
    .map(StageUpdate.model_validate)
)
tables = st.lists(updates, min_size=1, max_size=8)


def plain(update: StageUpdate) -> dict[str, Any]:
    """Return an update as JSON has it."""
    return dict[str, Any](id=str(update.id), **update.fields)


def marked(update: StageUpdate) -> dict[str, Any]:
    """Return an update as a table has it, where null is the marker."""
    return {key: MARKER if value is None else value for key, value in plain(update).items()}


def read(name: str, content: bytes) -> list[Any]:
    """Return the updates that a file comes to."""
    url = f"memory://round-trip/{name}"
    with fsspec.open(url, "wb") as file:
        file.write(content)
    return [row.update for row in read_source(url, null_marker=MARKER)]


@given(tables)
def test_csv(given_updates: list[StageUpdate]) -> None:
    """Written with Python's own writer: absent is blank, null is the marker."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(map(marked, given_updates))
    assert read("stages.csv", text.getvalue().encode()) == given_updates


@given(tables)
def test_json_lines(given_updates: list[StageUpdate]) -> None:
    """In Ruddr's spelling, as the API has it."""
    lines = [json.dumps({"id": str(update.id), **update.body()}) for update in given_updates]
    assert read("stages.jsonl", "\n".join(lines).encode()) == given_updates


@given(tables)
def test_parquet(given_updates: list[StageUpdate]) -> None:
    """Typed columns: absent is null, null is the marker."""
    rows = [dict.fromkeys(COLUMNS) | marked(update) for update in given_updates]
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows), file)
    assert read("stages.parquet", file.getvalue()) == given_updates


@given(tables)
def test_rows(given_updates: list[StageUpdate]) -> None:
    """As a frame's records or a query's rows have them."""
    rows = [dict.fromkeys(COLUMNS) | marked(update) for update in given_updates]
    assert [row.update for row in stage_rows(rows, null_marker=MARKER)] == given_updates


@given(st.binary(max_size=200), st.sampled_from(["stages.csv", "stages.jsonl"]))
def test_no_file_is_read_without_a_word(content: bytes, name: str) -> None:
    """Whatever the bytes are, they are rows or errors, and nothing else is raised."""
    url = f"memory://round-trip/{name}"
    with fsspec.open(url, "wb") as file:
        file.write(content)
    with suppress(InvalidStageUpdates):
        read_source(url, on_invalid="skip")
