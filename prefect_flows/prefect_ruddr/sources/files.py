"""Reads files of stage updates, row by row: CSV, JSON Lines and Parquet."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import IO, Any

from prefect_ruddr.errors import SourceUnreadable
from prefect_ruddr.sources.opening import SourceFormat, decoded, file_name, format_of, opened
from prefect_ruddr.sources.rows import OnWrong, SourceRow, accepted, source_row
from prefect_ruddr.sources.tables import Blank, Table, checked_marker
from prefect_ruddr.texts import bounded

BATCH_ROWS = 1000
"""How many rows of a Parquet file are in memory at once before they become updates."""

_UNDECODED = re.compile("[\udc80-\udcff]")


def read_source(
    path_or_url: str | os.PathLike[str],
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    blank: Blank = "leave",
    null_marker: str | None = None,
    encoding: str = "utf-8",
    on_invalid: OnWrong = "stop",
) -> list[SourceRow]:
    """Read a file of updates from its beginning to its end, a line or a batch at a time.

    Args:
        path_or_url: A path, or any URL that fsspec and the packages it finds can open.
        format: The format; None for what the name says.
        blank: What a blank description of a CSV or Parquet file means.
        null_marker: A text that means null.
        encoding: How a CSV or JSON Lines file is encoded.
        on_invalid: "stop" raises when any row is wrong, "keep" hands wrong rows on.

    Raises:
        InvalidStageUpdates: With every violation, each naming the file and the line.
        SourceUnreadable: When the file cannot be opened, or not be read to its end.
    """
    url = os.fspath(path_or_url)
    name = file_name(url)
    kind = format or format_of(name)
    marker = checked_marker(null_marker)
    broken: list[str] = []
    with opened(url, name) as file:
        rows: Iterator[SourceRow]
        if kind == "parquet":
            rows = _parquet_rows(file, name, blank, marker, broken)
        else:
            lines = decoded(file, encoding)
            rows = (
                _csv_rows(lines, name, blank, marker, broken)
                if kind == "csv"
                else _json_rows(lines, name, marker)
            )
            rows = _whole_text(rows, name, encoding, broken)
        return accepted(rows, broken, on_invalid)


def _csv_rows(
    lines: Iterable[str], name: str, blank: Blank, null_marker: str | None, broken: list[str]
) -> Iterator[SourceRow]:
    reader = csv.reader(lines, strict=True)
    table: Table | None = None
    next_line = 1
    try:
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            if table is None:
                if not any(cell.strip() for cell in cells):
                    continue
                table = Table(cells, blank, null_marker)
                broken += [f"{name} line {line}: {text}" for text in table.violations]
                if not table.usable:
                    return
            elif undecoded := list(_undecoded(cells)):
                yield SourceRow({}, line, f"{name} line", tuple(undecoded))
            elif row := table.row(cells, line, f"{name} line"):
                yield row
    except csv.Error as error:
        broken.append(f"{name} line {next_line}: {error}: no row from here on can be told")
    if table is None:
        broken.append(f"{name}: no header: the first line should name the columns")


def _json_rows(lines: Iterable[str], name: str, null_marker: str | None) -> Iterator[SourceRow]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = list(_undecoded([line]))
        said: Any = {}
        try:
            said = json.loads(
                line,
                parse_float=_decimal,
                parse_constant=_no_constant,
                object_pairs_hook=_each_name_once,
            )
        except json.JSONDecodeError as error:
            found.append(f"not JSON: {error.msg} at column {error.pos + 1}")
        except (ValueError, RecursionError) as error:
            found.append(str(error))
        if not isinstance(said, dict):
            found.append(f"not a JSON object: {bounded(line)[:80]}")
            said = {}
        values = {
            key: None if isinstance(value, str) and value == null_marker else value
            for key, value in said.items()
        }
        yield source_row(values, number, f"{name} line", found)


def _parquet_rows(
    file: IO[bytes], name: str, blank: Blank, null_marker: str | None, broken: list[str]
) -> Iterator[SourceRow]:
    try:
        from pyarrow import (  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
            ArrowException,
            parquet,
        )
    except ImportError:
        raise SourceUnreadable(
            f"{name}: Parquet needs pyarrow: pip install 'prefect-ruddr[parquet]'"
        ) from None
    try:
        content = parquet.ParquetFile(file)
        table = Table(content.schema_arrow.names, blank, null_marker)
        broken += [f"{name}: {text}" for text in table.violations]
        number = 0
        for batch in content.iter_batches(BATCH_ROWS) if table.usable else ():
            for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                number += 1
                if row := table.row(cells, number, f"{name} row"):
                    yield row
    except ArrowException as error:
        raise SourceUnreadable(f"{name}: {bounded(str(error))}") from None


def _whole_text(
    rows: Iterator[SourceRow], name: str, encoding: str, broken: list[str]
) -> Iterator[SourceRow]:
    """Take down where a text ends that cannot be read on, as can be with UTF-16."""
    last = 0
    try:
        for row in rows:
            last = row.number
            yield row
    except UnicodeError:
        after = f" after line {last}" if last else ""
        broken.append(f"{name}: not {encoding}{after}: give its encoding")


def _undecoded(cells: Iterable[str]) -> Iterator[str]:
    for cell in cells:
        if not cell.isascii() and (found := _UNDECODED.search(cell)):
            byte = ord(found[0]) - 0xDC00
            text = bounded(cell)[:40]
            yield f"byte 0x{byte:02X} in {text!r} cannot be decoded: give the file's encoding"


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"{bounded(', '.join(twice))[:80]}: there twice")
    return dict(pairs)


def _decimal(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that not even a Decimal has
        return float(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"not JSON: {name}")
