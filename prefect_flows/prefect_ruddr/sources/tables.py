"""What a table means: its columns, and the rows of frames and queries. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.sources.cells import Blank, cell_value, checked_marker, is_blank
from prefect_ruddr.sources.rows import BrokenSource, OnInvalid, RawRow, Reading, SourceRow
from prefect_ruddr.stages.field_errors import MOST_UNKNOWN, no_such
from prefect_ruddr.stages.judging import ADDRESS_NAMES
from prefect_ruddr.stages.pipelines import PipelineIds, PipelineNames
from prefect_ruddr.stages.stage import CAMEL_CASE, FIELD_NAMES, READ_ONLY_NAMES
from prefect_ruddr.texts import shown

COLUMNS = (*ADDRESS_NAMES, *FIELD_NAMES)
"""The columns of updates; what nobody can set may be there too, and is left alone."""

_SPELLINGS = {
    spelling: name
    for name in (*COLUMNS, *READ_ONLY_NAMES)
    for spelling in (name, CAMEL_CASE.get(name, name))
}

T = TypeVar("T")


@frozen
class TableRow:
    """A row of a table.

    Attributes:
        columns: What the columns are called.
        cells: The cells in the order of the columns; None for the header alone.
        place: Where it stands, such as "stages.csv line 7".
        errors: What is wrong with it before anybody looks at its cells.
    """

    columns: tuple[Any, ...]
    cells: Sequence[Any] | None
    place: str
    errors: tuple[str, ...] = ()


class UpdateColumns:
    """The columns of a table of updates, and what their cells mean.

    Args:
        columns: What they are called, by us or by Ruddr; white space around is cut.
        blank: What a blank description means.
        null_marker: A text that means null; None for none.

    Attributes:
        errors: What is wrong with the columns.
        usable: Whether they say which stage a row is about and set anything of it.
    """

    def __init__(
        self, columns: Iterable[Any], blank: Blank = "leave", null_marker: str | None = None
    ) -> None:
        names = _stripped(columns)
        self._fields = [_SPELLINGS.get(name) for name in names]
        self._clears_description = blank == "clear"
        self._null_marker = null_marker
        known = {field for field in self._fields if field}
        by_stage, sets = known & {"id", "stage"}, known & set(FIELD_NAMES)
        self.usable = bool(by_stage and sets)
        self.errors = _first(_update_column_errors(names, self._fields))
        if not by_stage:
            self.errors.append("no column says which stage a row is about: id, or stage")
        if not sets:
            self.errors.append(f"no column sets anything: {', '.join(FIELD_NAMES)}")

    def values(self, cells: Sequence[Any]) -> dict[str, Any]:
        """Return what a row says, by our names of the fields."""
        values = {}
        for field, cell in zip(self._fields, cells, strict=True):
            if field is None:
                continue
            if not is_blank(cell):
                values[field] = None if self._is_null(cell) else cell_value(field, cell)
            elif field == "description" and self._clears_description:
                values[field] = None
        return values

    def _is_null(self, cell: Any) -> bool:
        return isinstance(cell, str) and cell == self._null_marker


def update_rows(
    rows: Iterable[TableRow], reading: Reading, blank: Blank, null_marker: str | None
) -> Iterator[RawRow]:
    """Yield what the rows of a table of updates say, without those that are blank.

    Args:
        rows: The rows of the table.
        reading: Where what is wrong with the columns is noted.
        blank: What a blank description means.
        null_marker: A text that means null; None for none.
    """

    def columns_of(row: TableRow) -> UpdateColumns:
        columns = UpdateColumns(row.columns, blank, null_marker)
        reading.errors += [f"{row.place}: {text}" for text in columns.errors]
        return columns

    for row, columns in _with_columns(rows, columns_of):
        if row.cells is None and not columns.usable:
            return
        if row.cells is not None and columns.usable:
            values = {} if row.errors else columns.values(row.cells)
            yield RawRow(values, row.place, row.errors)


def raw_rows(rows: Iterable[TableRow]) -> Iterator[RawRow]:
    """Yield the rows of any table, without those that are blank.

    Raises:
        BrokenSource: When a column has no name, or the name of another.
    """

    def columns_of(row: TableRow) -> list[str]:
        names = _stripped(row.columns)
        errors = _first(_column_errors(names, names))
        if errors:
            raise BrokenSource(f"{row.place}: {'; '.join(errors)}")
        return names

    for row, columns in _with_columns(rows, columns_of):
        if row.cells is not None:
            values = {} if row.errors else dict(zip(columns, row.cells, strict=True))
            yield RawRow(values, row.place, row.errors)


def stage_rows(
    table: Any,
    *,
    blank: Blank = "leave",
    null_marker: str | None = None,
    pipelines: PipelineIds | None = None,
    on_invalid: OnInvalid = "stop",
) -> list[SourceRow]:
    """Make updates of a frame, or of the rows of a query.

    Args:
        table: A pandas or polars frame; or rows that know their columns: SQLAlchemy's and
            those of `prefect-sqlalchemy`, `sqlite3.Row`, named tuples, mappings.
        blank: What a missing description (NULL, NaN, NA, NaT or white space) means: "leave" it
            alone or "clear" it. Anything else that is missing is left alone.
        null_marker: A text that means null.
        pipelines: The ids of pipelines by what you call them, where rows give these names.
        on_invalid: "stop" raises when any row is wrong; "skip" hands wrong rows on marked, for
            `apply_stage_updates(on_invalid="skip")` to report as rejected.

    Returns:
        The rows, for `apply_stage_updates`; those with nothing but blanks are left out.

    Raises:
        InvalidStageUpdates: With every error, each naming its row, from 1.

    Examples:
        >>> stage_rows([{"id": "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19", "probability": "0.625"}])
        [SourceRow(update=StageUpdate(id='a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19', ...]
    """
    marker = checked_marker(null_marker)
    reading = Reading(PipelineNames(pipelines))
    reading.add_all(update_rows(_rows_of(table), reading, blank, marker))
    return reading.rows(on_invalid)


def table_rows(table: Any) -> Iterator[RawRow]:
    """Yield the rows of a frame or of a query as they are, whatever they are about.

    Args:
        table: A pandas or polars frame; or rows that know their columns.

    Raises:
        InvalidStageUpdates: When it is no table, or a column has no name or another's.

    Examples:
        >>> next(table_rows([{"stage": "Won", "entered_at": "2026-01-31"}]))
        RawRow(values={'stage': 'Won', 'entered_at': '2026-01-31'}, place='row 1', errors=())
    """
    try:
        yield from raw_rows(_rows_of(table))
    except BrokenSource as error:
        raise InvalidStageUpdates([str(error)]) from None


def _with_columns(
    rows: Iterable[TableRow], columns_of: Callable[[TableRow], T]
) -> Iterator[tuple[TableRow, T]]:
    """Yield the rows that are not blank, each with what its columns mean."""
    known: dict[Hashable, T] = {}
    for row in rows:
        if row.columns not in known:
            known[row.columns] = columns_of(row)
        if row.cells is None or row.errors:
            yield row, known[row.columns]
        elif not all(map(is_blank, row.cells)):
            cells, columns = len(row.cells), len(row.columns)
            ragged = (
                () if cells == columns else (f"{cells} cells, but there are {columns} columns",)
            )
            yield TableRow(row.columns, row.cells, row.place, ragged), known[row.columns]


def _rows_of(table: Any) -> Iterator[TableRow]:
    """Yield the rows of a frame, or of anything whose rows know their columns."""
    if hasattr(table, "itertuples"):  # pandas
        cells = table.itertuples(index=False, name=None)
    elif hasattr(table, "iter_rows"):  # polars
        cells = table.iter_rows()
    else:
        yield from _self_describing(table)
        return
    columns = tuple(table.columns)
    for number, row in enumerate(cells, 1):
        yield TableRow(columns, row, f"row {number}")


def _self_describing(rows: Any) -> Iterator[TableRow]:
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Iterable):
        raise InvalidStageUpdates(
            [f"{shown(rows)} is no table: give a frame, or a list of rows that know their columns"]
        )
    for number, row in enumerate(rows, 1):
        place = f"row {number}"
        if isinstance(row, Mapping):
            yield TableRow(tuple(row), tuple(row.values()), place)
        elif hasattr(row, "_fields"):  # SQLAlchemy, named tuples
            yield TableRow(tuple(row._fields), row, place)
        elif hasattr(row, "keys"):  # sqlite3
            yield TableRow(tuple(row.keys()), tuple(row), place)
        else:
            raise InvalidStageUpdates([f"{place}: {shown(row)} does not know its columns"])


def _stripped(columns: Iterable[Any]) -> list[str]:
    return [str(column).strip() for column in columns]


def _column_errors(names: list[str], meanings: Sequence[str | None]) -> Iterator[str]:
    seen: set[str | None] = {None}
    for number, (name, meaning) in enumerate(zip(names, meanings, strict=True), 1):
        if not name:
            yield f"column {number} has no name"
        elif meaning in seen and meaning is not None:
            yield f"column {shown(name)} is there twice"
        seen.add(meaning)


def _update_column_errors(names: list[str], fields: list[str | None]) -> Iterator[str]:
    yield from _column_errors(names, fields)
    for name, field in zip(names, fields, strict=True):
        if name and field is None:
            yield f"column {shown(name)}: no such column; {no_such(name, COLUMNS)}"


def _first(errors: Iterator[str]) -> list[str]:
    """Return the first errors, and how many more there are."""
    found = list(errors)
    more = len(found) - MOST_UNKNOWN
    return found[:MOST_UNKNOWN] + ([f"and {more} more columns are wrong"] if more > 0 else [])
