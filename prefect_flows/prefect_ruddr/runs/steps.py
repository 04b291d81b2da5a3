"""The steps of a run, as Prefect tasks: read what is live, and write one change."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from prefect_ruddr.api.reading import LiveStages, read_all_stages, read_live_stages
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError, RunStopped, StageEdited, ValueNotKept
from prefect_ruddr.runs.stopping import Stop
from prefect_ruddr.stages.diff import change_text
from prefect_ruddr.stages.outcome import StageOutcome
from prefect_ruddr.stages.plan import StageChange
from prefect_ruddr.stages.stage import Stage

UPDATED_EVENT = "ruddr.opportunity-stage.updated"

OLD_SECONDS = 10.0
"""How old a reading may be, in seconds, when its stage's turn comes; an older one is made again."""


class Seen(NamedTuple):
    """A stage as it was read, and when that was (UTC)."""

    stage: Stage
    at: datetime


class Ended(NamedTuple):
    """How a step ended: its outcome, and what it raised."""

    outcome: StageOutcome
    error: BaseException | None = None


@task(name="read-live-stages", cache_policy=NO_CACHE)
def read_stages(
    ruddr_credentials: RuddrCredentials, stage_ids: Sequence[UUID] | None
) -> LiveStages:
    """Read the stages with these ids, in as few requests as can be known beforehand.

    Args:
        ruddr_credentials: The key to the workspace.
        stage_ids: The ids; None for all stages of the workspace.

    Returns:
        The stages; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    api = ruddr_credentials.get_client()
    return read_all_stages(api) if stage_ids is None else read_live_stages(api, stage_ids)


def _named_by_change(parameters: dict[str, Any]) -> str:
    """Name the step by the stage and the fields that it changes."""
    change: StageChange = parameters["change"]
    return f"{change.label}: {', '.join(change.after)}"


@task(
    name="apply-stage-change",
    task_run_name=_named_by_change,  # type: ignore[arg-type]  # its type has a method of its own
    cache_policy=NO_CACHE,
)
def apply_stage_change(
    ruddr_credentials: RuddrCredentials,
    change: StageChange,
    seen: Seen | None = None,
    stop: Stop | None = None,
) -> int | StageOutcome:
    """Write one change of a plan: one PATCH with the fields that differ.

    The stage is read before the PATCH unless it has just been, and again before each further
    attempt, so that nothing that somebody has edited is overwritten, and nothing that an attempt
    whose answer was lost has written is sent twice.

    Args:
        ruddr_credentials: The key to the plan's workspace.
        change: What to write.
        seen: The stage as it was read just before; None where it is yet to be read.
        stop: Tells whether the run goes on.

    Returns:
        How many times the PATCH was sent, where Ruddr confirmed it and that is all there is to
        say; otherwise the outcome. A small number is all that Prefect does not keep track of
        until the flow ends, which takes time and memory for each step.

    Raises:
        StageEdited: When somebody has changed the stage since it was planned; nothing is sent.
        ValueNotKept: When Ruddr confirmed the change but holds another value.
        RunStopped: When the run was stopped before its turn.
        RuddrRequestError: When Ruddr refuses or does not answer, in the class that says why.
    """
    guard = _Guard(ruddr_credentials.get_client(), change, seen, stop or Stop())
    written = guard.write()
    if isinstance(written, StageOutcome) and not written.written:
        return written
    _emit_updated(change)
    get_run_logger().info("%s: %s", change.label, change_text(change.steps))
    return written


class _Guard:
    """Looks at a stage before each attempt to write it, and says what came of it."""

    def __init__(self, api: RuddrApi, change: StageChange, seen: Seen | None, stop: Stop) -> None:
        self._api = api
        self._change = change
        self._seen = seen
        self._stop = stop
        self._sent = 0
        self._doubt: RuddrRequestError | None = None

    def write(self) -> int | StageOutcome:
        try:
            answer = self._api.update_stage(self._change.update(), guard=self)
        except _AlreadyApplied:
            return self._already_applied()
        except _Unreadable as unreadable:
            error = self._doubt or unreadable.error
            error.attempts = self._sent
            raise error from None
        except RuddrRequestError as error:
            self._remember(error)
            if self._doubt is None:
                raise
            return self._read_back(error)
        require_kept(self._change, answer.value)
        return answer.attempts

    def look(self, failure: RuddrRequestError | None) -> None:
        """Compare the stage with the plan, before an attempt waits for its turn."""
        self._stop.check()
        if failure is not None:
            self._remember(failure)
        if failure is None and self._seen and _age(self._seen) < OLD_SECONDS:
            stage = self._seen.stage
        else:
            stage = self._read()
        compared = self._change.compared_with(stage)
        if compared == "already applied":
            raise _AlreadyApplied
        if compared == "conflict":
            raise StageEdited(self._change.overtaken_by(stage), in_doubt=self._doubt is not None)

    def check(self) -> None:
        """Go on, if the run does, when the turn has come."""
        self._stop.check()

    def _remember(self, failure: RuddrRequestError) -> None:
        self._sent = failure.attempts
        self._doubt = failure if failure.may_have_been_applied else None

    def _read(self) -> Stage:
        try:
            return self._api.get_stage(self._change.stage_id)
        except RuddrRequestError as error:
            raise _Unreadable(error) from None

    def _already_applied(self) -> StageOutcome:
        if self._doubt is None:
            found = StageOutcome.of(self._change, "unchanged")
            return found.model_copy(update={"attempts": self._sent})
        return StageOutcome.updated(
            self._change,
            attempts=self._sent,
            error=f"{self._doubt.message}; read back: it had been carried out",
        )

    def _read_back(self, doubt: RuddrRequestError) -> StageOutcome:
        """Say, from reading the stage, what became of a write that may have been carried out."""
        try:
            stage = self._read()
        except _Unreadable:
            raise doubt from None
        if self._change.missed_by(stage):
            raise doubt.read_back("it had not been carried out when it was read")
        if not self._change.seen_in(stage):
            raise doubt
        return self._already_applied()


class _AlreadyApplied(Exception):
    """The stage holds what was to be written."""


class _Unreadable(Exception):
    """The stage could not be read, so it is not known whether it may be written."""

    def __init__(self, error: RuddrRequestError) -> None:
        self.error = error


def step_ended(change: StageChange, future: PrefectFuture[int | StageOutcome]) -> Ended:
    """Wait for a step, and judge what became of its change.

    Args:
        change: What the step was to write.
        future: The step.

    Returns:
        The outcome, and what the step raised; a task runner raises where a worker is lost.
    """
    try:
        future.wait()
        result: object = future.result(raise_on_failure=False)
    except Exception as error:  # noqa: BLE001  # whatever a task runner raises for a lost worker
        why = f"its worker was lost, it may have been carried out: {error}"
        lost = StageOutcome.of(change, "failed", why)
        return Ended(lost.model_copy(update={"retryable": True, "written": None}), error)
    if isinstance(result, int):
        return Ended(StageOutcome.updated(change, attempts=result))
    if isinstance(result, StageOutcome):
        return Ended(result)
    if isinstance(result, StageEdited):
        edited = StageOutcome.of(change, "conflict", str(result))
        return Ended(edited.model_copy(update={"written": None} if result.in_doubt else {}))
    if isinstance(result, RunStopped):
        return Ended(StageOutcome.of(change, "not_attempted", str(result)))
    if isinstance(result, ValueNotKept):
        kept = StageOutcome.failure(change, result)
        return Ended(kept.model_copy(update={"attempts": 1, "written": True}))
    if isinstance(result, BaseException):
        return Ended(StageOutcome.failure(change, result), result)
    raise TypeError(f"a step returned {result!r}")


def require_kept(change: StageChange, stage: Stage) -> None:
    """Compare the answer to a write with what was sent.

    Raises:
        ValueNotKept: When Ruddr confirmed the change but holds another value.
    """
    if missed := missed_text(change, stage):
        raise ValueNotKept(f"{change.label}: Ruddr confirmed the change, but {missed}")


def missed_text(change: StageChange, stage: Stage) -> str:
    """Say what a stage holds instead of what was to be set: "probability is 0.3, not 0.37"."""
    return ", ".join(
        f"{field} is {stage.value(field)!r}, not {change.after[field]!r}"
        for field in change.missed_by(stage)
    )


def _age(seen: Seen) -> float:
    return (datetime.now(UTC) - seen.at).total_seconds()


def _emit_updated(change: StageChange) -> None:
    """Emit the event that automations react to: this stage was changed, from what to what."""
    emit_event(
        event=UPDATED_EVENT,
        resource={
            "prefect.resource.id": f"ruddr.opportunity-stage.{change.stage_id}",
            "prefect.resource.name": change.label,
        },
        payload={
            "stage_id": str(change.stage_id),
            "changes": {
                field.field: {"before": field.before, "after": field.after}
                for field in change.fields
            },
        },
    )
