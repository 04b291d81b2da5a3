"""What may keep an update from being sent, or from being sent again. Pure: it asks for nothing."""

from __future__ import annotations

from typing import Protocol

from prefect_ruddr.errors import RuddrRequestError
from prefect_ruddr.stages.kept import is_seen_to_hold
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.stages.update import StageUpdate


class Guard(Protocol):
    """Looks at a stage before an update of it is sent. What it raises ends the call."""

    def wants_to_look(self, failure: RuddrRequestError | None) -> bool:
        """Tell whether the stage is to be read before the next attempt.

        Args:
            failure: How the last attempt failed; None before the first.
        """

    def is_spared(self, stage: Stage) -> bool:
        """Tell whether nothing has to be sent, as the stage holds what is wanted."""

    def check(self) -> None:
        """Go on, or raise, when the turn to send has come."""


class SendOnce:
    """Does not send again what an attempt whose answer was lost has written.

    Args:
        update: The update.
    """

    def __init__(self, update: StageUpdate) -> None:
        self._wanted = update.fields

    def wants_to_look(self, failure: RuddrRequestError | None) -> bool:
        """Look after an attempt that may have been carried out."""
        return failure is not None and failure.may_have_been_applied

    def is_spared(self, stage: Stage) -> bool:
        """Tell whether the stage holds what the attempt was to write."""
        return is_seen_to_hold(self._wanted, stage)

    def check(self) -> None:
        """Go on."""
