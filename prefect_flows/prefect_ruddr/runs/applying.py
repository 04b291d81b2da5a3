"""Carries a plan out within a flow run: one step for each change, and its outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias
from uuid import UUID

from prefect.futures import PrefectFuture
from prefect.results import ResultRecord  # type: ignore[attr-defined]  # where it is documented

from prefect_ruddr.api.reading import read_live_stages
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError, StageEdited, WorkspaceMismatch
from prefect_ruddr.runs.artifacts import Progress
from prefect_ruddr.runs.steps import apply_stage_change
from prefect_ruddr.stages.outcome import StageOutcome
from prefect_ruddr.stages.plan import StageChange, StagePlan
from prefect_ruddr.stages.stage import Stage

CONCURRENCY = 16
"""How many steps are under way at once, at the most: enough to keep 20 requests a second going
when each takes 0.8 s, and how many may still be sent after one says that the rest would fail
too."""

FEW = 4
"""How many steps are under way at first. Where Ruddr answers at once they keep this process busy,
and more would only get into each other's way."""

SLOW_SECONDS = 0.02
"""How long no step may end while this process is mostly idle, in seconds, before there are twice
as many under way: it is answers that they wait for then."""

FRESH_SECONDS = 60.0
"""How old a plan may be, in seconds, before its stages are read again."""

_Future: TypeAlias = PrefectFuture[int | StageOutcome]


def apply_plan(
    ruddr_credentials: RuddrCredentials, plan: StagePlan, *, reread: bool
) -> dict[UUID, StageOutcome]:
    """Write a plan: one task run and one PATCH for each change that is still due.

    Args:
        ruddr_credentials: The key to the plan's workspace.
        plan: What to write.
        reread: Whether to read the stages again first; done in any case when the plan is
            older than a minute.

    Returns:
        The outcome of each change, by the id of its stage.

    Raises:
        WorkspaceMismatch: When the key is another workspace's; nothing is written.
        RuddrRequestError: When the stages had to be read again and could not be.
    """
    if not plan.changes:
        return {}
    age = (datetime.now(UTC) - plan.created_at).total_seconds()
    live: Mapping[UUID, Stage] = {}
    if reread or age > FRESH_SECONDS:
        require_workspace(ruddr_credentials, plan)
        live = read_live_stages(
            ruddr_credentials.get_client(), (change.stage_id for change in plan.changes)
        )
    return _Steps(ruddr_credentials, plan).run(live)


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


class _Steps:
    """The steps of a plan, with no more than so many under way at once."""

    def __init__(self, ruddr_credentials: RuddrCredentials, plan: StagePlan) -> None:
        self._ruddr_credentials = ruddr_credentials
        self._plan = plan
        self._done: SimpleQueue[tuple[UUID, _Future]] = SimpleQueue()
        self._outcomes: dict[UUID, StageOutcome] = {}
        self._changes = {change.stage_id: change for change in plan.changes}
        self._stopped_by: BaseException | None = None
        self._under_way = 0
        self._most = min(FEW, CONCURRENCY)

    def run(self, live: Mapping[UUID, Stage]) -> dict[UUID, StageOutcome]:
        with Progress(len(self._plan.changes)) as progress:
            self._carry_out(live, progress)
        for stage_id, change in self._changes.items():
            if stage_id not in self._outcomes:
                self._outcomes[stage_id] = StageOutcome.of(
                    change, "not_attempted", f"the run was stopped: {self._stopped_by}"
                )
        return self._outcomes

    def _carry_out(self, live: Mapping[UUID, Stage], progress: Progress) -> None:
        for stage_id, change in self._changes.items():
            self._make_room(progress)
            if self._stopped_by:
                break
            future = apply_stage_change.submit(self._ruddr_credentials, change, live.get(stage_id))
            self._under_way += 1
            future.add_done_callback(partial(self._ended, stage_id))
        while self._under_way:
            self._settle(progress)

    def _make_room(self, progress: Progress) -> None:
        """Wait until another step may start: one has ended, or it is Ruddr that all wait for."""
        while self._under_way >= self._most:
            patience = SLOW_SECONDS if self._most < CONCURRENCY else None
            before = time.process_time()
            in_time = self._settle(progress, patience)
            if not in_time and time.process_time() - before < SLOW_SECONDS / 2:
                self._most = min(2 * self._most, CONCURRENCY)

    def _ended(self, stage_id: UUID, future: _Future) -> None:
        self._done.put((stage_id, future))

    def _settle(self, progress: Progress, patience: float | None = None) -> bool:
        """Wait for a step to end, and take its outcome down; tell whether one did in time."""
        try:
            stage_id, future = self._done.get(timeout=patience)
        except Empty:
            return False
        self._under_way -= 1
        change = self._changes[stage_id]
        result = self._result(change, future)
        if isinstance(result, int):
            self._outcomes[stage_id] = StageOutcome.sent(change, "updated", attempts=result)
        elif isinstance(result, StageOutcome):
            self._outcomes[stage_id] = result
        elif isinstance(result, StageEdited):
            self._outcomes[stage_id] = StageOutcome.of(change, "conflict", str(result))
        elif isinstance(result, BaseException):
            self._outcomes[stage_id] = StageOutcome.failure(change, result)
            if isinstance(result, RuddrRequestError) and result.ends_run:
                self._stopped_by = result
        progress.show(len(self._outcomes))
        return True

    def _result(self, change: StageChange, future: _Future) -> object:
        try:
            future.wait()
            data = future.state.data
            # Where it is at hand, the result need not be fetched on an event loop of Prefect's.
            if isinstance(data, ResultRecord):
                return data.result
            return future.result(raise_on_failure=False)
        except Exception as error:  # noqa: BLE001  # whatever a task runner raises for a lost worker
            self._stopped_by = error
            why = f"its worker was lost, it may have been carried out: {error}"
            failed = StageOutcome.of(change, "failed", why)
            return failed.model_copy(update={"retryable": True})
