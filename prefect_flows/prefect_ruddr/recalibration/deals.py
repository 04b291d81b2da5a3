"""A deal's way through the stages, and what was known of it at an instant. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

from attrs import frozen

DealOutcome: TypeAlias = Literal["won", "lost"]


class Event(NamedTuple):
    """Something that happened to a deal: it entered an open stage, or it was closed.

    Attributes:
        at: When, in UTC.
        stage_id: The open stage that it entered; None where it was closed.
        outcome: How it was closed; None where it entered an open stage.
    """

    at: datetime
    stage_id: UUID | None
    outcome: DealOutcome | None


@frozen
class Deal:
    """What happened to a deal, in order; at equal instants a closing is last."""

    events: tuple[Event, ...]

    def until(self, instant: datetime) -> tuple[Event, ...]:
        """Return what was known at an instant."""
        if not self.events or self.events[-1].at <= instant:
            return self.events
        return tuple(event for event in self.events if event.at <= instant)


@frozen
class History:
    """What became of deals, as judged rows tell it.

    Attributes:
        deals: Each deal with its events.
        as_of: What is known was known at this instant, in UTC.
        oldest: The first instant in the rows.
        rows: How many rows there were.
        ignored: How many of them were of stages that are not there any more.
    """

    deals: tuple[Deal, ...]
    as_of: datetime
    oldest: datetime
    rows: int
    ignored: int


def first_entries(events: tuple[Event, ...]) -> dict[UUID, datetime]:
    """Return when a deal first entered each open stage."""
    entered: dict[UUID, datetime] = {}
    for event in events:
        if event.stage_id is not None:
            entered.setdefault(event.stage_id, event.at)
    return entered


def was_reopened(events: tuple[Event, ...]) -> bool:
    """Tell whether a deal entered an open stage after it had been closed."""
    closed = False
    for event in events:
        if closed and event.stage_id is not None:
            return True
        closed = closed or event.outcome is not None
    return False
