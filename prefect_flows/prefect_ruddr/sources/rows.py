"""Rows that say where they come from: their place, what they ask for, what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

from attrs import frozen

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.names import addressed
from prefect_ruddr.stages.update import StageUpdateLike

OnWrong: TypeAlias = Literal["stop", "keep"]
"""What to do about wrong rows: raise, or hand them on with what is wrong."""


# Not a dataclass: Prefect would write every row into the parameters that it records of a run,
# and refuses to start one whose parameters are above 512 KiB.
@frozen
class SourceRow:
    """A row of a file, a frame or a query: what it asks for, and where it stands.

    Attributes:
        update: What it asks for: a `StageUpdate`, or a mapping where the stage is given by
            name or something is wrong.
        number: The line in the file, or the row, from 1.
        source: The name of the file, with "line" or "row" where that is what is counted.
        violations: What is wrong with it.
    """

    update: StageUpdateLike
    number: int
    source: str = "row"
    violations: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands, such as "stages.csv line 7"."""
        return f"{self.source} {self.number}"


def source_row(
    update: Mapping[str, Any], number: int, source: str, found: Iterable[str] = ()
) -> SourceRow:
    """Judge a row.

    Args:
        update: What it asks for.
        number: The line or row, from 1.
        source: The name of the file, and what is counted.
        found: What is already known to be wrong with it.
    """
    violations = tuple(found)
    if violations:
        return SourceRow(update, number, source, violations)
    try:
        judged, name = addressed(update)
    except InvalidStageUpdates as error:
        return SourceRow(update, number, source, error.violations)
    return SourceRow(update if name else judged, number, source)


def accepted(rows: Iterable[SourceRow], broken: list[str], on_invalid: OnWrong) -> list[SourceRow]:
    """Return all rows, or raise for what is wrong with them.

    Args:
        rows: The rows; they are read to the end.
        broken: What is wrong with the source as a whole, known when all rows are read.
        on_invalid: What to do about wrong rows.

    Raises:
        InvalidStageUpdates: When the source as a whole is wrong; with "stop" also when any
            row is. With every violation, each naming its place.
    """
    listed = list(rows)
    found = [f"{row.place}: {text}" for row in listed for text in row.violations]
    if broken or (found and on_invalid == "stop"):
        raise InvalidStageUpdates([*broken, *found])
    return listed
