"""What a table means: its columns, its cells, its blanks. Pure.

One rule for every table, be it a CSV or Parquet file, a frame or the answer to a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from pydantic.alias_generators import to_camel

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.sources.rows import OnWrong, SourceRow, accepted, source_row
from prefect_ruddr.stages.stage import FIELD_NAMES
from prefect_ruddr.texts import bounded

Blank: TypeAlias = Literal["leave", "clear"]
"""What a blank description means: leave it alone, or clear it. Other blanks leave alone."""

ADDRESSES = ("id", "stage", "pipeline")
COLUMNS = (*ADDRESSES, *FIELD_NAMES)

_SPELLINGS = {name: name for name in COLUMNS} | {to_camel(name): name for name in COLUMNS}
_TEXTS = {"name", "description", "stage"}
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Table:
    """The columns of a table, and what its cells mean.

    Args:
        columns: What the columns are called, by us or by Ruddr; white space around is cut.
        blank: What a blank description means.
        null_marker: A text that means null; None for none.

    Attributes:
        violations: What is wrong with the columns.
        usable: Whether the columns say which stage a row is about and set anything of it.
    """

    def __init__(
        self, columns: Iterable[Any], blank: Blank = "leave", null_marker: str | None = None
    ) -> None:
        names = [str(column).strip() for column in columns]
        self._fields = [_SPELLINGS.get(name) for name in names]
        self._clears_description = blank == "clear"
        self._null_marker = null_marker
        known = {field for field in self._fields if field}
        self.violations = list(_column_violations(names, self._fields))
        self.usable = bool(known & {"id", "stage"} and known - set(ADDRESSES))

    def row(self, cells: Sequence[Any], number: int, source: str) -> SourceRow | None:
        """Read and judge a row; None for one in which every cell is blank."""
        if all(map(is_blank, cells)):
            return None
        if len(cells) != len(self._fields):
            ragged = f"{len(cells)} cells, but there are {len(self._fields)} columns"
            return SourceRow({}, number, source, (ragged,))
        values = {}
        for field, cell in zip(self._fields, cells, strict=True):
            if field is None:
                continue
            if not is_blank(cell):
                values[field] = None if self._is_null(cell) else _value(field, cell)
            elif field == "description" and self._clears_description:
                values[field] = None
        return source_row(values, number, source)

    def _is_null(self, cell: Any) -> bool:
        return isinstance(cell, str) and cell == self._null_marker


def stage_rows(
    table: Any,
    *,
    blank: Blank = "leave",
    null_marker: str | None = None,
    on_invalid: OnWrong = "stop",
) -> list[SourceRow]:
    """Make updates of a frame, or of the rows of a query.

    Args:
        table: A pandas or polars frame; or rows that know their columns: SQLAlchemy's and
            those of `prefect-sqlalchemy`, `sqlite3.Row`, named tuples, mappings.
        blank: What a missing description (NULL, NaN, NA, NaT or white space) means: "leave" it
            alone or "clear" it. Anything else that is missing is left alone.
        null_marker: A text that means null.
        on_invalid: "stop" raises when any row is wrong; "keep" hands wrong rows on, for
            `apply_stage_updates` to report as rejected.

    Returns:
        The rows, for `apply_stage_updates`; those with nothing but blanks are left out.

    Raises:
        InvalidStageUpdates: With every violation, each naming its row, from 1.

    Examples:
        >>> stage_rows([{"id": "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19", "probability": "0.625"}])
        [SourceRow(update=StageUpdate(id='a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19', ...]
    """
    marker = checked_marker(null_marker)
    broken: list[str] = []
    return accepted(_table_rows(table, blank, marker, broken), broken, on_invalid)


def checked_marker(null_marker: str | None) -> str | None:
    """Return the marker.

    Raises:
        InvalidStageUpdates: When it is blank: a blank cell never is a marker.
    """
    if null_marker is not None and not null_marker.strip():
        raise InvalidStageUpdates(
            [f'null_marker = {null_marker!r}: should not be blank (blank="clear" may be meant)']
        )
    return null_marker


def is_blank(cell: Any) -> bool:
    """Tell whether a cell is missing: None, white space, NaN, NaT or pandas' NA."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return not cell or cell.isspace()
    try:
        return bool(cell != cell)  # noqa: PLR0124 - what NaN and NaT are known by
    except (TypeError, ValueError):
        # pandas' NA does not even know that; a list of cells is not missing.
        return type(cell).__name__ == "NAType"


def _table_rows(
    table: Any, blank: Blank, null_marker: str | None, broken: list[str]
) -> Iterator[SourceRow]:
    known: dict[tuple[Any, ...], Table] = {}
    for number, (columns, cells) in enumerate(_named_cells(table), 1):
        if columns not in known:
            known[columns] = Table(columns, blank, null_marker)
            broken += [f"row {number}: {text}" for text in known[columns].violations]
        row = known[columns].row(cells, number, "row") if known[columns].usable else None
        if row:
            yield row


def _named_cells(table: Any) -> Iterator[tuple[tuple[Any, ...], Sequence[Any]]]:
    """Yield the columns and the cells of each row."""
    if hasattr(table, "itertuples"):  # pandas
        rows, columns = table.itertuples(index=False, name=None), tuple(table.columns)
        yield from ((columns, row) for row in rows)
    elif hasattr(table, "iter_rows"):  # polars
        columns = tuple(table.columns)
        yield from ((columns, row) for row in table.iter_rows())
    else:
        for number, row in enumerate(table, 1):
            if isinstance(row, Mapping):
                yield tuple(row), tuple(row.values())
            elif hasattr(row, "_fields"):  # SQLAlchemy, named tuples
                yield tuple(row._fields), row
            elif hasattr(row, "keys"):  # sqlite3
                yield tuple(row.keys()), tuple(row)
            else:
                raise InvalidStageUpdates(
                    [f"row {number}: {bounded(repr(row))[:80]} does not know its columns"]
                )


def _column_violations(names: list[str], fields: list[str | None]) -> Iterator[str]:
    for number, (name, field) in enumerate(zip(names, fields, strict=True), 1):
        if not name:
            yield f"column {number} has no name"
        elif field is None:
            yield f"column {bounded(name)[:80]!r}: no such column; there are {', '.join(COLUMNS)}"
        elif field in fields[: number - 1]:
            yield f"column {name!r} is there twice"
    known = {field for field in fields if field}
    if not known & {"id", "stage"}:
        yield "no column says which stage a row is about: id, or stage"
    if not known - set(ADDRESSES):
        yield f"no column sets anything: {', '.join(FIELD_NAMES)}"


def _value(field: str, cell: Any) -> Any:
    """Return what a cell says; what it cannot be is left for `StageUpdate` to refuse."""
    if isinstance(cell, str):
        text = cell if field in _TEXTS else cell.strip()
        if field == "probability" and _NUMBER.fullmatch(text):
            return Decimal(text)
        if field == "is_active":
            return _BOOLEANS.get(text.lower(), text)
        return text
    if field == "is_active":
        # Databases without booleans, and frames with missing ones, have 0 and 1.
        plain = cell.item() if hasattr(cell, "item") else cell
        return bool(plain) if plain in (0, 1) else plain
    return cell
