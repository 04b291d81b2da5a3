"""Judges the rows somebody wants applied: every violation of every row at once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages import Stage, StageUpdate, StageUpdateLike, stage_update


@dataclass
class Intake:
    """The rows of a run, judged.

    Attributes:
        rows: What was given, in order.
        updates: The good ones, by position.
        violations: What is wrong with the others, by position.
    """

    rows: list[StageUpdateLike]
    updates: dict[int, StageUpdate] = field(default_factory=dict)
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

    def stage_id(self, position: int) -> UUID | None:
        """Return the stage a row is about, as far as the row says."""
        if position in self.updates:
            return self.updates[position].id
        row = self.rows[position]
        said: Any = row.get("id") if isinstance(row, Mapping) else getattr(row, "id", None)
        try:
            return said if isinstance(said, UUID) else UUID(said)
        except (ValueError, TypeError, AttributeError):
            return None


def intake(rows: Iterable[StageUpdateLike]) -> Intake:
    """Judge rows against Ruddr's limits, and against each other.

    Two rows about the same stage are both refused, even where one of them is wrong in itself:
    nobody could say which of them counts.

    Args:
        rows: Updates, or mappings with the same names.
    """
    judged = Intake(list(rows))
    positions: dict[UUID, list[int]] = defaultdict(list)
    for position, row in enumerate(judged.rows):
        try:
            judged.updates[position] = stage_update(row)
        except InvalidStageUpdates as error:
            judged.reject(position, "; ".join(error.violations))
        stage_id = judged.stage_id(position)
        if stage_id is not None:
            positions[stage_id].append(position)
    for stage_id, same in positions.items():
        if len(same) > 1:
            listed = ", ".join(str(position + 1) for position in same)
            for position in same:
                judged.reject(position, f"id = {stage_id}: updates {listed} are all about it")
    return judged
