"""Rows that say where they come from: their place, what they ask for, what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.judging import judge
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.update import StageUpdateLike

OnInvalid: TypeAlias = Literal["stop", "skip"]
"""What to do about wrong rows: raise, or go on without them. A reader goes on by handing them
on with what is wrong, for the run to report as rejected."""

MOST_ROWS = 250_000
"""How many updates a source may hold: no workspace has as many stages."""


class BrokenSource(Exception):
    """What is wrong with a source from some place on, so that no more rows can be told."""


@frozen
class RawRow:
    """A row as it stands in a source.

    Attributes:
        values: The cells by the names of their columns.
        place: Where it stands, such as "stages.csv line 7".
        errors: What is wrong with it as a row, such as a cell too many.
    """

    values: Mapping[str, Any]
    place: str
    errors: tuple[str, ...] = ()


# Not a dataclass: Prefect would write every row into the parameters that it records of a run,
# and refuses to start one whose parameters are above 512 KiB.
@frozen
class SourceRow:
    """A row of a file, a frame or a query: what it asks for, and where it stands.

    Attributes:
        update: What it asks for: a `StageUpdate`, or a mapping where the stage is given by
            name or something is wrong.
        place: Where it stands, such as "stages.csv line 7".
        errors: What is wrong with it.
        pipelines: What the source calls pipelines, for people to read; None where it names none.
    """

    update: StageUpdateLike
    place: str
    errors: tuple[str, ...] = ()
    pipelines: PipelineNames | None = field(default=None, eq=False, repr=False)


class Reading:
    """What a source comes to while it is read.

    Args:
        pipelines: What pipelines are called.

    Attributes:
        pipelines: What pipelines are called; a source may name more of them.
        errors: What is wrong with the source as a whole.
    """

    def __init__(self, pipelines: PipelineNames) -> None:
        self.pipelines = pipelines
        self.errors: list[str] = []
        self._rows: list[SourceRow] = []

    def add_all(self, rows: Iterable[RawRow]) -> None:
        """Judge rows and keep them, as far as they can be told."""
        try:
            self._rows += map(self._judged, _bounded(rows))
        except BrokenSource as error:
            self.errors.append(str(error))

    def rows(self, on_invalid: OnInvalid) -> list[SourceRow]:
        """Return all rows, or raise for what is wrong with them.

        Raises:
            InvalidStageUpdates: When the source as a whole is wrong; with "stop" also when any
                row is. With every error, each naming its place.
        """
        found = [f"{row.place}: {text}" for row in self._rows for text in row.errors]
        if self.errors or (found and on_invalid == "stop"):
            raise InvalidStageUpdates([*self.errors, *found])
        return self._rows

    def _judged(self, row: RawRow) -> SourceRow:
        named = self.pipelines if self.pipelines.ids else None
        if row.errors:
            return SourceRow(row.values, row.place, row.errors, named)
        wanted = judge(row.values, self.pipelines)
        update = row.values if wanted.errors else wanted.row
        return SourceRow(update, row.place, wanted.errors, named)


def _bounded(rows: Iterable[RawRow]) -> Iterator[RawRow]:
    for number, row in enumerate(rows):
        if number == MOST_ROWS:
            raise BrokenSource(f"{row.place}: more than {MOST_ROWS} rows: split the source")
        yield row
