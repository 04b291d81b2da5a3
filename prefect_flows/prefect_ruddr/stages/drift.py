"""How far what is live has drifted from what somebody wanted. Pure: no I/O, no Prefect."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from rich.text import Text

from prefect_ruddr.errors import RuddrError
from prefect_ruddr.stages.diff import Shown, change_text
from prefect_ruddr.stages.plan import StagePlan
from prefect_ruddr.texts import count, listed

MOST_NAMED = 3
"""How many stages a line names."""


class StageDrift(Shown, BaseModel):
    """What differs between what was wanted and what is live.

    Attributes:
        source: Where it is written what was wanted: the name of a file, or of a flow run.
        plan: The plan that nobody applies. Of each field that differs, `before` is what is live
            and `after` what was wanted.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    plan: StagePlan

    @property
    def found(self) -> bool:
        """Whether anything differs."""
        return bool(self.plan.changes)

    def in_one_line(self) -> str:
        """Return how many stages differ, and the first of them with what differs."""
        differing = len(self.plan.changes)
        if not differing:
            return f"no drift: {count(len(self.plan.unchanged), 'stage')} as in {self.source}"
        of_all = differing + len(self.plan.unchanged)
        first = (f"{each.label} ({change_text(each.steps)})" for each in self.plan.changes)
        return (
            f"drift: {differing} of {count(of_all, 'stage')} not as in {self.source}, from what is"
            f" live to what was wanted: {listed(first, MOST_NAMED)}"
        )

    def diff(self, most: int | None = None) -> Text:
        """Return the drift as a text for people: `print` and `rich.print` show it too.

        Args:
            most: How many stages to show; None for all.
        """
        return self.plan.diff(most)


class DriftFound(RuddrError):
    """What is live is not what was wanted, and the check was to fail for that.

    Attributes:
        drift: What differs.
    """

    def __init__(self, drift: StageDrift) -> None:
        self.drift = drift
        super().__init__(drift.in_one_line())

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.drift,))
