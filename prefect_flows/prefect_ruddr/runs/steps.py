"""The steps of a run, as Prefect tasks: read what is live, and write one change."""

import inspect
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from prefect_ruddr.api.reading import read_live_stages
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrRequestError, StageEdited, ValueNotKept
from prefect_ruddr.runs.reports import change_text, emit_updated
from prefect_ruddr.stages.outcome import StageOutcome
from prefect_ruddr.stages.plan import StageChange
from prefect_ruddr.stages.stage import Stage


@task(name="read-live-stages", cache_policy=NO_CACHE)
def read_stages(
    ruddr_credentials: RuddrCredentials, stage_ids: Sequence[UUID]
) -> dict[UUID, Stage]:
    """Read the stages with these ids, in as few requests as can be known beforehand.

    Args:
        ruddr_credentials: The key to the workspace.
        stage_ids: The ids.

    Returns:
        The stages by id; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    return read_live_stages(ruddr_credentials.get_client(), stage_ids)


def _named_by_change(parameters: dict[str, Any]) -> str:
    """Name the step by the stage and the fields that it changes."""
    change: StageChange = parameters["change"]
    return f"{change.stage_name}: {', '.join(change.after)}"


@task(
    name="apply-stage-change",
    task_run_name=_named_by_change,  # type: ignore[arg-type]  # its type has a method of its own
    cache_policy=NO_CACHE,
)
def apply_stage_change(
    ruddr_credentials: RuddrCredentials, change: StageChange, live: Stage | None = None
) -> int | StageOutcome:
    """Write one change of a plan: one PATCH with the fields that differ.

    Where no whole answer arrives even at the last attempt, the stage is read back, so that
    the outcome says what is so.

    Args:
        ruddr_credentials: The key to the plan's workspace.
        change: What to write.
        live: The stage as it was read just before, to compare with first; None where the plan
            itself is as fresh as that.

    Returns:
        How many times the PATCH was sent, where Ruddr confirmed it and that is all there is to
        say; otherwise the outcome. A small number is all that Prefect does not keep track of
        until the flow ends, which takes time and memory for each step.

    Raises:
        StageEdited: When somebody has changed the stage since it was planned; nothing is sent.
        ValueNotKept: When Ruddr confirmed the change but holds another value.
        RuddrRequestError: When Ruddr refuses or does not answer, in the class that says why.
    """
    standing = "due" if live is None else change.standing(live)
    if standing == "unchanged":
        return StageOutcome.of(change, "unchanged")
    if live is not None and standing == "conflict":
        raise StageEdited(change.overtaken_by(live))
    written = _written(ruddr_credentials, change)
    emit_updated(change)
    get_run_logger().info("%s: %s", change.stage_name, change_text(change.fields))
    return written


# Prefect asks for it several times at each step, and each time it would be put together anew.
apply_stage_change.fn.__signature__ = inspect.signature(apply_stage_change.fn)  # type: ignore[attr-defined]


def _written(ruddr_credentials: RuddrCredentials, change: StageChange) -> int | StageOutcome:
    api = ruddr_credentials.get_client()
    try:
        answer = api.update_stage(change.update())
    except RuddrRequestError as error:
        if not error.may_have_been_applied:
            raise
        doubt = error
    else:
        _require_kept(change, answer.value)
        return answer.attempts
    live = _read_back(ruddr_credentials, change, doubt)
    if change.missed_by(live):
        raise doubt.read_back("it has not been carried out")
    if not change.seen_in(live):
        raise doubt
    return StageOutcome.sent(
        change,
        "updated",
        attempts=doubt.attempts,
        error=f"{doubt.message}; read back: it had been carried out",
    )


def _read_back(
    ruddr_credentials: RuddrCredentials, change: StageChange, doubt: RuddrRequestError
) -> Stage:
    try:
        return ruddr_credentials.get_client().get_stage(change.stage_id)
    except RuddrRequestError:
        raise doubt from None


def _require_kept(change: StageChange, stage: Stage) -> None:
    missed = change.missed_by(stage)
    if missed:
        held = ", ".join(
            f"{field} is {stage.value(field)!r}, not {change.after[field]!r}" for field in missed
        )
        raise ValueNotKept(f"{change.stage_name}: Ruddr confirmed the change, but {held}")
