"""Carries a plan out within a flow run: one step for each change, and its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias
from uuid import UUID

from prefect.futures import PrefectFuture
from prefect.utilities.annotations import quote

from prefect_ruddr.api.reading import MOST_IN_A_SLICE, read_again, read_slice, slices
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError, WorkspaceMismatch
from prefect_ruddr.records.progress import Progress
from prefect_ruddr.runs.steps import Ended, Seen, apply_stage_change, missed_text, step_ended
from prefect_ruddr.runs.stopping import Stop
from prefect_ruddr.stages.order import WriteOrder, over_a_third_name
from prefect_ruddr.stages.outcome import Ledger, StageOutcome
from prefect_ruddr.stages.plan import StageChange, StagePlan
from prefect_ruddr.stages.stage import Stage

CONCURRENCY = 16
"""How many steps are under way at once, at the most: enough to keep 20 requests a second going
when each takes 0.8 s, and how many may still be sent after one says that the rest would fail
too."""

MOST_GIVEN_UP = 3
"""After so many calls in a row that gave up, Ruddr is taken to be away, and the run ends."""

GRACE_SECONDS = 2.0
"""How long a run that is interrupted waits for the steps that are under way, in seconds."""

_Future: TypeAlias = PrefectFuture[int | StageOutcome]


def require_workspace(ruddr_credentials: RuddrCredentials, plan: StagePlan) -> None:
    """Refuse a key that belongs to another workspace than the plan: one GET.

    Raises:
        WorkspaceMismatch: When it does.
    """
    workspace = ruddr_credentials.verify()
    if plan.workspace and workspace.id != plan.workspace.id:
        raise WorkspaceMismatch(
            f"the plan is for workspace {plan.workspace.name} ({plan.workspace.id}), but the key"
            f" belongs to {workspace.name} ({workspace.id}): give that workspace's credentials"
        )


class Applying:
    """Writes a plan: one task run and one PATCH for each change that is still valid.

    Args:
        ruddr_credentials: The key to the plan's workspace.
        order: The changes, in the order in which they can be written.
        listed: The ids of stages as Ruddr lists them, as far as that is known.
        ledger: Where the outcome of each change is recorded as soon as it is known.
        stop: Set when nothing more is to be sent.
    """

    def __init__(
        self,
        ruddr_credentials: RuddrCredentials,
        order: WriteOrder,
        listed: Sequence[UUID],
        ledger: Ledger,
        stop: Stop,
    ) -> None:
        self._ruddr_credentials = ruddr_credentials
        self._order = order
        self._listed = listed
        self._ledger = ledger
        self._stop = stop
        self._done: SimpleQueue[tuple[StageChange, _Future]] = SimpleQueue()
        self._under_way: dict[UUID, StageChange] = {}
        self._given_up = 0
        self._written: dict[UUID, StageChange] = {}

    def run(self) -> None:
        """Carry the plan out, and record what becomes of each change.

        Raises:
            RuddrRequestError: When stages could not be read again before they were written.
        """
        total = len(self._order.free) + len(self._order.chained) + sum(map(len, self._order.swaps))
        with Progress(total) as progress:
            self._progress = progress
            try:
                self._write_free()
                for swap in self._order.swaps:
                    self._one_after_the_other(over_a_third_name(swap))
                self._one_after_the_other(self._order.chained)
            except RuddrRequestError as error:
                self._stop.set(str(error))
                self._drain()
                raise
            except BaseException:
                self._stop.set("it was interrupted")
                self._drain(GRACE_SECONDS)
                raise
            self._drain()

    def look_once_more(self) -> str | None:
        """Read what was written once more, and record what is so at the end.

        Returns:
            What a person should know where the stages could not be read; otherwise None.
        """
        if not self._written:
            return None
        try:
            live = read_again(self._ruddr_credentials.get_client(), self._listed, self._written)
        except RuddrRequestError as error:
            return f"The stages could not be read once more after the last was written: {error}"
        self._ledger.settle(
            self._at_the_end(change, live.get(stage_id))
            for stage_id, change in self._written.items()
        )
        return None
