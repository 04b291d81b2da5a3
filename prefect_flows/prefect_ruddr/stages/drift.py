"""How far what is live has drifted from what somebody wanted. Pure: no I/O, no Prefect."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict
from rich.text import Text

from prefect_ruddr.errors import RuddrError
from prefect_ruddr.stages.diff import Entry, Shown, change_text, diff
from prefect_ruddr.stages.plan import StagePlan
from prefect_ruddr.texts import count, listed

DRIFT_KEY = "ruddr-stage-drift"
"""The artifact of a flow run that has all that differs."""

MOST_IN_LINE = 3
"""How many stages a line names."""


class MissingStage(BaseModel):
    """A stage that was wanted and that the workspace does not have.

    Attributes:
        stage_id: Its id; None where it was given by name.
        stage_name: What it was called, as far as that is known.
        place: Where it stands, such as "stages.csv line 7", if that is known.
        why: What is so instead, such as that no stage has that id.
    """

    model_config = ConfigDict(frozen=True)

    stage_id: UUID | None = None
    stage_name: str | None = None
    place: str | None = None
    why: str

    @property
    def label(self) -> str:
        """What a person knows the stage by."""
        return self.stage_name or f"id {self.stage_id}"

    @property
    def what(self) -> str:
        """What became of it: a stage that was given by name may have another one now."""
        return "deleted" if self.stage_id else "deleted or renamed"


class StageDrift(Shown, BaseModel):
    """What differs between what was wanted and what is live.

    Attributes:
        source: Where it is written what was wanted: the name of a file, or of a flow run.
        plan: The plan that nobody applies. Of each field that differs, `before` is what is live
            and `after` what was wanted.
        missing: The stages that were wanted and are not there.
    """

    model_config = ConfigDict(frozen=True)

    source: str
    plan: StagePlan
    missing: tuple[MissingStage, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything differs."""
        return bool(self.plan.changes or self.missing)

    def in_one_line(self) -> str:
        """Return how many stages differ, and the first of them with what differs."""
        differing = len(self.plan.changes) + len(self.missing)
        if not differing:
            return f"no drift: {count(len(self.plan.unchanged), 'stage')} as in {self.source}"
        of_all = differing + len(self.plan.unchanged)
        first = [
            *(f"{each.label} ({each.what})" for each in self.missing),
            *(f"{each.label} ({change_text(each.steps)})" for each in self.plan.changes),
        ]
        more = f" (see artifact {DRIFT_KEY})" if differing > MOST_IN_LINE else ""
        return (
            f"drift: {differing} of {count(of_all, 'stage')} not as in {self.source}, from what is"
            f" live to what was wanted: {listed(first, MOST_IN_LINE)}{more}"
        )

    def diff(self, most: int | None = None) -> Text:
        """Return the drift as a text for people: `print` and `rich.print` show it too.

        Of each field it is first what was wanted, and then what is live.

        Args:
            most: How many stages to show; None for all.
        """
        changes, unchanged = self.plan.changes, len(self.plan.unchanged)
        where = f" in {self.plan.workspace.name}" if self.plan.workspace else ""
        differing = len(changes) + len(self.missing)
        title = (
            f"Drift from {self.source}{where}: {differing} differ, {unchanged} do not"
            if self.found
            else f"No drift from {self.source}: {count(unchanged, 'stage')} compared"
        )
        entries = [
            *(Entry(each.label, (), each.what, "red", each.why) for each in self.missing),
            *(Entry(each.label, each.inverted().steps, "differs", "yellow") for each in changes),
        ]
        shown = entries[:most]
        return diff(title, shown, len(entries) - len(shown))


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
