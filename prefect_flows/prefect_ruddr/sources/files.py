"""Reads files of every format, a row at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from prefect_ruddr.errors import InvalidStageUpdates, SourceUnreadable
from prefect_ruddr.sources.cells import Blank, checked_marker
from prefect_ruddr.sources.opening import Lines, SourceFormat, file_name, format_of, opened
from prefect_ruddr.sources.parquet_rows import parquet_rows
from prefect_ruddr.sources.rows import BrokenSource, OnInvalid, RawRow, Reading, SourceRow
from prefect_ruddr.sources.tables import TableRow, raw_rows, update_rows
from prefect_ruddr.sources.text_rows import csv_rows, json_rows
from prefect_ruddr.sources.yaml_rows import read_yaml
from prefect_ruddr.stages.pipelines import PipelineIds, PipelineNames


def read_source(
    path_or_url: str | os.PathLike[str],
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    blank: Blank = "leave",
    null_marker: str | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    pipelines: PipelineIds | None = None,
    on_invalid: OnInvalid = "stop",
) -> list[SourceRow]:
    """Read a file of updates from its beginning to its end, a line or a batch at a time.

    Args:
        path_or_url: A path, or any URL that fsspec and the packages it finds can open.
        format: The format; None for what the name says.
        blank: What a blank description of a CSV or Parquet file means.
        null_marker: A text that means null.
        encoding: How a CSV, JSON Lines or YAML file is encoded.
        delimiter: The character between two cells of a CSV file.
        pipelines: The ids of pipelines by what you call them, where rows give these names.
        on_invalid: "stop" raises when any row is wrong; "skip" hands wrong rows on marked.

    Raises:
        InvalidStageUpdates: With every error, each naming the file and the line.
        SourceUnreadable: When the file cannot be opened, or not be read to its end.
    """
    url = os.fspath(path_or_url)
    name = file_name(url)
    kind = format or format_of(name)
    marker = checked_marker(null_marker)
    reading = Reading(PipelineNames(pipelines))
    with opened(url, name) as file:
        if kind in {"csv", "parquet"}:
            rows = _table(file, name, kind, encoding, delimiter)
            reading.add_all(update_rows(rows, reading, blank, marker))
        else:
            reading.add_all(_with_nulls(_objects(file, name, kind, encoding, reading), marker))
    return reading.rows(on_invalid)


def read_rows(
    path_or_url: str | os.PathLike[str],
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> Iterator[RawRow]:
    """Yield the rows of any file as they are, whatever they are about.

    The file stays open, and is read on, as long as rows are taken.

    Args:
        path_or_url: A path, or any URL that fsspec and the packages it finds can open.
        format: The format; None for what the name says.
        encoding: How a CSV, JSON Lines or YAML file is encoded.
        delimiter: The character between two cells of a CSV file.

    Raises:
        InvalidStageUpdates: When an option is wrong.
        SourceUnreadable: When the file cannot be opened, or not be read to its end.
    """
    url = os.fspath(path_or_url)
    name = file_name(url)
    kind = format or format_of(name)
    with opened(url, name) as file:
        try:
            if kind in {"csv", "parquet"}:
                yield from raw_rows(_table(file, name, kind, encoding, delimiter))
            else:
                yield from _objects(file, name, kind, encoding, Reading(PipelineNames()))
        except BrokenSource as error:
            raise SourceUnreadable(str(error)) from None


def _table(
    file: IO[bytes], name: str, kind: SourceFormat, encoding: str, delimiter: str
) -> Iterator[TableRow]:
    if kind == "parquet":
        return parquet_rows(file, name)
    return csv_rows(Lines(file, name, encoding), name, delimiter)


def _objects(
    file: IO[bytes], name: str, kind: SourceFormat, encoding: str, reading: Reading
) -> Iterator[RawRow]:
    lines = Lines(file, name, encoding)
    if kind == "jsonl":
        yield from json_rows(lines, name)
        return
    content = read_yaml(lines, name)
    try:
        reading.pipelines = reading.pipelines.also(PipelineNames(content.pipelines))
    except InvalidStageUpdates as error:
        raise BrokenSource("; ".join(f"{name}: {text}" for text in error.errors)) from None
    yield from content.rows


def _with_nulls(rows: Iterator[RawRow], null_marker: str | None) -> Iterator[RawRow]:
    for row in rows:
        values = {
            key: None if isinstance(value, str) and value == null_marker else value
            for key, value in row.values.items()
        }
        yield RawRow(values, row.place, row.errors)
