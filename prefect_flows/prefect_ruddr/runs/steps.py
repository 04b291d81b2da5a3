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
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError, RunStopped, StageEdited, ValueNotKept
from prefect_ruddr.runs.endings import in_one_line, result_of
from prefect_ruddr.runs.stopping import Stop
from prefect_ruddr.stages.diff import change_text
from prefect_ruddr.stages.kept import require_kept
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
@in_one_line
def _read_live_stages(
    ruddr_credentials: RuddrCredentials, stage_ids: Sequence[UUID] | None
) -> LiveStages:
    api = ruddr_credentials.get_client()
    return read_all_stages(api) if stage_ids is None else read_live_stages(api, stage_ids)


def read_stages(
    ruddr_credentials: RuddrCredentials, stage_ids: Sequence[UUID] | None
) -> LiveStages:
    """Read the stages with these ids in a step, in as few requests as can be known beforehand.

    Args:
        ruddr_credentials: The key to the workspace.
        stage_ids: The ids; None for all stages of the workspace.

    Returns:
        The stages; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    return result_of(_read_live_stages(ruddr_credentials, stage_ids, return_state=True))


def _named_by_change(parameters: dict[str, Any]) -> str:
    """Name the step by the stage and the fields that it changes."""
    change: StageChange = parameters["change"]
    return f"{change.label}: {', '.join(change.after)}"


@task(
    name="apply-stage-change",
    task_run_name=_named_by_change,  # type: ignore[arg-type]  # its type has a method of its own
    cache_policy=NO_CACHE,
)
@in_one_line
def apply_stage_change(
    ruddr_credentials: RuddrCredentials,
    change: StageChange,
    seen: Seen | None = None,
    stop: Stop | None = None,
) -> int | StageOutcome:
    """Write one change of a plan: one PATCH with the fields that differ.

    The stage is read before the PATCH unless it has just been, and again before each further
    attempt, so that nothing that somebody has edited is overwritten, and nothing that an attempt
    whose answer was lost has written is sent again.

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
    guard = _AsPlanned(change, stop or Stop())
    if seen is not None and (datetime.now(UTC) - seen.at).total_seconds() < OLD_SECONDS:
        guard.look_first = False
        if guard.is_spared(seen.stage):
            return StageOutcome.of(change, "unchanged")
    answer = ruddr_credentials.get_client().update_stage(change.update(), guard)
    if guard.spared and guard.doubt is None:
        unchanged = StageOutcome.of(change, "unchanged")
        return unchanged.model_copy(update={"attempts": answer.attempts})
    require_kept(change.after, answer.value)
    _emit_updated(change)
    get_run_logger().info("%s: %s", change.label, change_text(change.steps))
    if not guard.spared or guard.doubt is None:
        return answer.attempts
    error = f"{guard.doubt.message}; read back: it had been carried out"
    return StageOutcome.updated(change, attempts=answer.attempts, error=error)


class _AsPlanned:
    """Lets a change be written as long as the stage holds what the plan saw."""

    def __init__(self, change: StageChange, stop: Stop) -> None:
        self._change = change
        self._stop = stop
        self.look_first = True
        self.doubt: RuddrRequestError | None = None
        self.spared = False

    def wants_to_look(self, failure: RuddrRequestError | None) -> bool:
        """Look before every attempt, but for the first where the stage has just been read."""
        self._stop.check()
        if failure is not None and failure.may_have_been_applied:
            self.doubt = failure
        return failure is not None or self.look_first

    def is_spared(self, stage: Stage) -> bool:
        """Compare the stage with the plan."""
        compared = self._change.compared_with(stage)
        if compared == "conflict":
            raise StageEdited(self._change.overtaken_by(stage), in_doubt=self.doubt is not None)
        self.spared = compared == "already applied"
        return self.spared

    def check(self) -> None:
        """Go on, if the run does."""
        self._stop.check()


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
    raised = result if isinstance(result, BaseException) else None
    return Ended(_outcome_of(change, result), raised)


def _outcome_of(change: StageChange, result: object) -> StageOutcome:
    match result:
        case int():
            return StageOutcome.updated(change, attempts=result)
        case StageOutcome():
            return result
        case StageEdited():
            edited = StageOutcome.of(change, "conflict", str(result))
            return edited.model_copy(update={"written": None if result.in_doubt else False})
        case RunStopped():
            return StageOutcome.of(change, "not_attempted", str(result))
        case ValueNotKept():
            failed = StageOutcome.failure(change, result)
            return failed.model_copy(update={"attempts": 1, "written": True})
        case BaseException():
            return StageOutcome.failure(change, result)
    raise TypeError(f"a step returned {result!r}")


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
