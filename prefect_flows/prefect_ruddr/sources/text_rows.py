"""Reads rows of texts: CSV and JSON Lines."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.sources.opening import Lines
from prefect_ruddr.sources.rows import BrokenSource, RawRow
from prefect_ruddr.sources.tables import TableRow
from prefect_ruddr.texts import LONGEST_VALUE, one_line, shown

MOST_DIGITS = 300
"""How many digits an integer may have to be one: Python itself refuses 4,300, slowly."""

_DELIMITERS = ";\t|,"
_UNDECODED = re.compile("[\udc80-\udcff]")


def csv_rows(lines: Lines, name: str, delimiter: str) -> Iterator[TableRow]:
    """Yield the header of a CSV file, then its rows.

    Args:
        lines: The lines of the file.
        name: What messages call the file.
        delimiter: The character between two cells.

    Raises:
        BrokenSource: When there is no header, or the quoting is broken.
        InvalidStageUpdates: When the delimiter is none.
    """
    if not isinstance(delimiter, str) or not re.fullmatch(r'[^\w\s"\x00-\x1f]|\t', delimiter):
        raise InvalidStageUpdates(
            [f"delimiter = {shown(delimiter)}: should be one character, such as ';' or a tab"]
        )
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    columns: tuple[str, ...] = ()
    next_line = 1
    try:
        for cells in reader:
            line, next_line = next_line, reader.line_num + 1
            lines.end_row()
            place = f"{name} line {line}"
            if columns:
                yield TableRow(columns, cells, place, tuple(undecoded(cells)))
            elif any(cell.strip() for cell in cells):
                columns = tuple(cells)
                _require_cells(cells, place)
                yield TableRow(columns, None, place)
    except csv.Error as error:
        raise BrokenSource(
            f"{name} line {next_line}: {error}: no row from here on can be told"
        ) from None
    if not columns:
        raise BrokenSource(f"{name}: no header: the first line should name the columns")


def json_rows(lines: Lines, name: str) -> Iterator[RawRow]:
    """Yield the objects of a JSON Lines file.

    Args:
        lines: The lines of the file.
        name: What messages call the file.

    Raises:
        BrokenSource: When it is JSON of another layout.
    """
    is_first = True
    for line in lines:
        lines.end_row()
        text = line.strip()
        if not text:
            continue
        if is_first and (text[0] == "[" or text == "{"):
            what = "an array" if text[0] == "[" else "an object of many lines"
            raise BrokenSource(
                f"{name} line {lines.number}: {what}, but JSON Lines have one object on each line,"
                " with nothing around or between them"
            )
        is_first = False
        yield _json_row(line, f"{name} line {lines.number}")


def undecoded(texts: Iterable[str]) -> Iterator[str]:
    """Say which texts have bytes in them that are no text."""
    for text in texts:
        if not text.isascii() and (found := _UNDECODED.search(text)):
            byte = ord(found[0]) - 0xDC00
            near = one_line(text[max(0, found.start() - 20) :], 40)
            yield f"byte 0x{byte:02X} in {near!r} cannot be decoded: give the file's encoding"


def _require_cells(header: list[str], place: str) -> None:
    """Refuse a header that is one column by mistake."""
    between = next((c for c in _DELIMITERS if c in header[0]), None)
    if len(header) == 1 and between:
        raise BrokenSource(
            f"{place}: one column, {shown(header[0])}: give delimiter={between!r} if that is"
            " what stands between the columns"
        )


def _json_row(line: str, place: str) -> RawRow:
    errors = list(undecoded([line]))
    said: Any = None
    try:
        said = json.loads(
            line,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_no_constant,
            object_pairs_hook=_each_name_once,
        )
    except json.JSONDecodeError as error:
        errors.append(f"not JSON: {error.msg} at column {error.pos + 1}")
    except (ValueError, RecursionError) as error:
        errors.append(one_line(str(error)))
    else:
        if not isinstance(said, dict):
            errors.append(f"not a JSON object: {one_line(line, LONGEST_VALUE)}")
    return RawRow(said if isinstance(said, dict) else {}, place, tuple(errors))


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]
    if twice:
        raise ValueError(f"{one_line(', '.join(twice), LONGEST_VALUE)}: there twice")
    return dict(pairs)


def _decimal(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that not even a Decimal has
        return float(text)


def _integer(text: str) -> int | Decimal | float:
    return int(text) if len(text) <= MOST_DIGITS else _decimal(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"not JSON: {name}")
