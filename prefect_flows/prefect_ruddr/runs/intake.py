"""Judges the rows somebody wants applied: every violation of every row at once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.sources.rows import SourceRow
from prefect_ruddr.stages.names import StageName, StageNames, addressed
from prefect_ruddr.stages.outcome import Ledger, StageOutcome
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.stages.update import StageUpdate, StageUpdateLike

Row: TypeAlias = StageUpdateLike | SourceRow
"""What a run takes: an update, a mapping with the same names, or a row that has a place."""

MOST_PLACES = 5
"""How many of the rows about the same stage are named in the violation of each of them."""


@dataclass
class Intake:
    """The rows of a run, judged.

    Attributes:
        rows: What was given, in order.
        updates: The good ones, by position; one whose stage is yet to be found by its name
            has a stand-in for its id.
        names: The names to find stages by, by position.
        violations: What is wrong with the others, by position.
    """

    rows: list[Row]
    updates: dict[int, StageUpdate] = field(default_factory=dict)
    names: dict[int, StageName] = field(default_factory=dict)
    violations: dict[int, str] = field(default_factory=dict)

    def reject(self, position: int, violation: str) -> None:
        """Take a row out of the good ones, for one more reason."""
        self.updates.pop(position, None)
        earlier = self.violations.get(position)
        self.violations[position] = f"{earlier}; {violation}" if earlier else violation

    def reject_unknown(self, live: Mapping[UUID, Stage]) -> None:
        """Take out the rows about stages that the workspace does not have."""
        for position, update in list(self.updates.items()):
            if update.id not in live:
                self.reject(position, f"id = {update.id}: the workspace has no such stage")

    def find_by_name(self, stages: Iterable[Stage]) -> None:
        """Find the stages that rows give by name, and take out the rows that leave a doubt.

        Args:
            stages: All stages of the workspace.
        """
        named = StageNames(stages)
        for position, name in self.names.items():
            try:
                found = named.find(name)
            except InvalidStageUpdates as error:
                self.reject(position, "; ".join(error.violations))
            else:
                update = self.updates[position]
                self.updates[position] = update.model_copy(update={"id": found.id})
        by_name = set(self.names)
        self.names.clear()
        self.reject_repeated(by_name)

    def reject_repeated(self, among: Set[int]) -> None:
        """Take out all rows about a stage that more than one row is about.

        Args:
            among: Only where one of these positions is concerned.
        """
        positions: dict[UUID, list[int]] = defaultdict(list)
        for position in range(len(self.rows)):
            stage_id = self.stage_id(position)
            if stage_id:
                positions[stage_id].append(position)
        for stage_id, same in positions.items():
            if len(same) > 1 and not among.isdisjoint(same):
                violation = f"id = {stage_id}: {self._listed(same)} are all about it"
                for position in same:
                    self.reject(position, violation)

    def stage_id(self, position: int) -> UUID | None:
        """Return the stage a row is about, as far as that is known."""
        if position in self.names:
            return None
        if position in self.updates:
            return self.updates[position].id
        row = _update(self.rows[position])
        said: Any = row.get("id") if isinstance(row, Mapping) else getattr(row, "id", None)
        try:
            return said if isinstance(said, UUID) else UUID(said)
        except (ValueError, TypeError, AttributeError):
            return None

    def place(self, position: int) -> str | None:
        """Return where a row comes from, such as "stages.csv line 7", if it says."""
        row = self.rows[position]
        return row.place if isinstance(row, SourceRow) else None

    def _listed(self, positions: list[int]) -> str:
        places = [self.place(position) or str(position + 1) for position in positions]
        more = len(places) - MOST_PLACES
        listed = ", ".join(places[:MOST_PLACES]) + (f" and {more} more" if more > 0 else "")
        return listed if self.place(positions[0]) else f"updates {listed}"


def intake(rows: Iterable[Row]) -> Intake:
    """Judge rows against Ruddr's limits, and against each other.

    Two rows about the same stage are both refused, even where one of them is wrong in itself:
    nobody could say which of them counts.

    Args:
        rows: Updates, mappings with the same names, or rows with a place. A mapping may give
            the stage by name: `stage`, and `pipeline` with it, instead of `id`.
    """
    judged = Intake(list(rows))
    for position, row in enumerate(judged.rows):
        if isinstance(row, SourceRow) and row.violations:
            judged.reject(position, "; ".join(row.violations))
            continue
        try:
            update, name = addressed(_update(row))
        except InvalidStageUpdates as error:
            judged.reject(position, "; ".join(error.violations))
        else:
            judged.updates[position] = update
            if name:
                judged.names[position] = name
    judged.reject_repeated(set(range(len(judged.rows))))
    return judged


def ledger_of(judged: Intake) -> Ledger:
    """Return what each row comes to should the run end now."""
    return Ledger(_line(judged, position) for position in range(len(judged.rows)))


def _line(judged: Intake, position: int) -> StageOutcome:
    update = judged.updates.get(position)
    return StageOutcome(
        outcome="not_attempted",
        stage_id=judged.stage_id(position),
        after=update.fields if update else {},
        retryable=update is not None,
        place=judged.place(position),
    )


def _update(row: Row) -> StageUpdateLike:
    return row.update if isinstance(row, SourceRow) else row
