"""Carries a plan out within a flow run: one step for each change, and its outcome."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeAlias
from uuid import UUID

from prefect.futures import PrefectFuture

from prefect_ruddr.api.reading import MOST_IN_A_SLICE, read_again, read_slice, slices
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrError, RuddrRequestError, WorkspaceMismatch
from prefect_ruddr.records.progress import Progress
from prefect_ruddr.runs.steps import Ended, Seen, apply_stage_change, step_ended
from prefect_ruddr.runs.stopping import Stop
from prefect_ruddr.stages.kept import is_seen_to_hold, missed_text
from prefect_ruddr.stages.order import WriteOrder, over_a_third_name
from prefect_ruddr.stages.outcome import GOOD, Ledger, StageOutcome
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
        self._planned = {change.stage_id: change for change in order.all()}
        self._done: SimpleQueue[tuple[StageChange, _Future]] = SimpleQueue()
        self._under_way: dict[UUID, StageChange] = {}
        self._written: dict[UUID, StageChange] = {}
        self._settled = 0
        self._given_up = 0
        self._went_well = True

    def run(self) -> None:
        """Carry the plan out, and record what becomes of each change.

        Raises:
            RuddrRequestError: When stages could not be read again before they were written.
        """
        with Progress(len(self._planned)) as progress:
            self._progress = progress
            try:
                self._write_free()
                for swap in self._order.swaps:
                    self._swap(swap)
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

    def _write_free(self) -> None:
        """Write what depends on nothing, a page of the live list at a time, each read before."""
        waiting = {change.stage_id: change for change in self._order.free}
        for each in slices(self._listed, waiting, MOST_IN_A_SLICE):
            self._make_room()
            if self._stop.reason:
                return
            at = datetime.now(UTC)
            live = read_slice(self._ruddr_credentials.get_client(), each)
            for stage_id in each.stage_ids:
                stage = live.get(stage_id)
                self._start(waiting.pop(stage_id), Seen(stage, at) if stage else None)
        for change in waiting.values():
            self._start(change, None)

    def _one_after_the_other(self, changes: Iterable[StageChange]) -> None:
        """Write changes of which each needs the name that the one before gives up."""
        for change in changes:
            self._drain()
            self._start(change, None)

    def _swap(self, swap: tuple[StageChange, ...]) -> None:
        """Write changes of which each takes the name of the next, as long as that goes well."""
        for change in over_a_third_name(swap):
            self._one_after_the_other([change])
            self._drain()
            if not self._went_well:
                return

    def _start(self, change: StageChange, seen: Seen | None) -> None:
        self._make_room()
        if self._stop.reason:
            return
        with self._stop.uninterrupted():
            self._under_way[change.stage_id] = change
            future = apply_stage_change.submit(self._ruddr_credentials, change, seen, self._stop)
            future.add_done_callback(partial(self._note_done, change))

    def _note_done(self, change: StageChange, future: _Future) -> None:
        self._done.put((change, future))

    def _make_room(self) -> None:
        while len(self._under_way) >= CONCURRENCY:
            self._settle()

    def _drain(self, seconds: float | None = None) -> None:
        """Wait for the steps that are under way, for so long at the most."""
        deadline = None if seconds is None else monotonic() + seconds
        try:
            while self._under_way:
                self._settle(None if deadline is None else max(0.0, deadline - monotonic()))
        except Empty:
            why = "the run was interrupted while this was sent: it may have been carried out"
            for change in self._under_way.values():
                unknown = StageOutcome.of(change, "failed", why)
                self._record(
                    change,
                    unknown.model_copy(update={"written": None, "attempts": 1, "retryable": True}),
                )

    def _settle(self, seconds: float | None = None) -> None:
        """Wait for a step to end, and record its outcome."""
        change, future = self._done.get(timeout=seconds)
        with self._stop.uninterrupted():
            ended = step_ended(change, future)
            self._record(change, ended.outcome)
            del self._under_way[change.stage_id]
            self._look_for_trouble(ended)

    def _record(self, change: StageChange, outcome: StageOutcome) -> None:
        if outcome.outcome == "not_attempted":
            self._went_well = False
            return  # which it is as long as nothing else is recorded
        self._went_well = outcome.outcome in GOOD
        planned = self._planned[change.stage_id]
        if change != planned:
            outcome = self._of_a_swap(change, planned, outcome)
        self._ledger.settle([outcome])
        if outcome.written is not False:
            self._written[change.stage_id] = planned
        self._settled += 1
        self._progress.show(self._settled)

    def _of_a_swap(
        self, change: StageChange, planned: StageChange, outcome: StageOutcome
    ) -> StageOutcome:
        """Return the outcome of a stage that swaps its name, in terms of the plan."""
        whole = outcome.model_copy(update={"before": planned.before, "after": planned.after})
        if change.after.get("name") == planned.after.get("name", planned.stage_name):
            return whole
        if outcome.written is False:
            return whole
        aside = f"it is called {change.after['name']!r} now, and had yet to get its last name"
        error = f"{outcome.error}; {aside}" if outcome.error else aside
        return whole.model_copy(update={"outcome": "failed", "error": error, "retryable": True})

    def _look_for_trouble(self, ended: Ended) -> None:
        """Stop the run where what comes next would fail too."""
        error = ended.error
        if not isinstance(error, RuddrRequestError):
            if error is not None and not isinstance(error, RuddrError):
                self._stop.set(str(error))
            self._given_up = 0
            return
        self._given_up = self._given_up + 1 if error.gave_up else 0
        if error.ends_run or error.gave_up == "wait":
            self._stop.set(str(error))
        elif self._given_up >= MOST_GIVEN_UP:
            self._stop.set(
                f"Ruddr answered none of the last {self._given_up} calls, each tried several"
                f" times: {error} Run it again when Ruddr answers: prefect-ruddr check"
            )

    def _at_the_end(self, change: StageChange, stage: Stage | None) -> StageOutcome:
        """Compare what was written with what is so when all is written."""
        outcome = self._ledger.settled(change.stage_id)
        if outcome.outcome == "failed":
            in_doubt = outcome.written is None
            if not in_doubt or stage is None or not is_seen_to_hold(change.after, stage):
                return outcome
            error = f"{outcome.error}; read at the end: it has been carried out"
            attempts = outcome.attempts
            return StageOutcome.updated(change, attempts=attempts, error=error)
        missed = "it is no longer there" if stage is None else missed_text(change.after, stage)
        if not missed:
            return outcome
        error = f"written, but somebody has changed it since: {missed}"
        return outcome.model_copy(update={"outcome": "conflict", "error": error})
