"""What a run left behind: how it ended, what went over the wire, what Prefect has of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from prefect import State
from prefect.client.orchestration import get_client

from prefect_ruddr import StageReport, StageUpdatesFailed
from prefect_ruddr.sandbox import Sandbox

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        state: The state that Prefect holds for it.
    """

    state: State[Any]

    @property
    def result(self) -> Any:
        """What the flow returned or raised."""
        return self.state.result(raise_on_failure=False)

    @property
    def report(self) -> StageReport:
        """The report, of a run that failed too."""
        result = self.result
        report = result.report if isinstance(result, StageUpdatesFailed) else result
        assert isinstance(report, StageReport), f"ended with {result!r}"
        return report

    @property
    def flow_run_id(self) -> UUID:
        """The id of the flow run."""
        assert self.state.state_details.flow_run_id
        return self.state.state_details.flow_run_id

    @property
    def outcomes(self) -> list[str]:
        """The outcome of each update, in input order."""
        return [outcome.outcome for outcome in self.report.outcomes]


def run(flow: Any, *args: Any, **kwargs: Any) -> Ended:
    """Run a flow, sync or async, to its end, good or bad."""
    state = flow(*args, **kwargs, return_state=True)
    return Ended(asyncio.run(state) if asyncio.iscoroutine(state) else state)


def methods(sandbox: Sandbox) -> dict[str, int]:
    """Return how many requests of each method the sandbox received."""
    received = [request.method for request in sandbox.requests]
    return {method: received.count(method) for method in sorted(set(received))}


def patches(sandbox: Sandbox) -> list[tuple[str, Any]]:
    """Return the PATCHes received: the id of the stage, and the body."""
    return [
        (request.path.rsplit("/", 1)[1], request.json)
        for request in sandbox.requests
        if request.method == "PATCH"
    ]


def artifacts(flow_run_id: UUID, key: str) -> list[dict[str, Any]]:
    """Return a run's artifacts of a key, the oldest first."""
    return _filtered(
        "artifacts",
        artifacts={"flow_run_id": {"any_": [str(flow_run_id)]}, "key": {"any_": [key]}},
    )[::-1]


def table(flow_run_id: UUID, key: str) -> list[dict[str, Any]]:
    """Return the rows of the one table that a run published under a key."""
    (artifact,) = artifacts(flow_run_id, key)
    rows: list[dict[str, Any]] = json.loads(artifact["data"])
    return rows


def markdown(flow_run_id: UUID, key: str) -> str:
    """Return the one page that a run published under a key."""
    (artifact,) = artifacts(flow_run_id, key)
    return str(artifact["data"])


def task_runs(flow_run_id: UUID) -> list[dict[str, Any]]:
    """Return a run's task runs, as far as they are recorded."""
    return _filtered("task_runs", flow_runs={"id": {"any_": [str(flow_run_id)]}})


def flow_runs_named(name: str) -> list[dict[str, Any]]:
    """Return the flow runs of a name."""
    return _filtered("flow_runs", flow_runs={"name": {"any_": [name]}})


def child_runs(flow_run_id: UUID) -> list[dict[str, Any]]:
    """Return the flow runs that a flow run started."""
    return _filtered("flow_runs", flow_runs={"parent_flow_run_id": {"any_": [str(flow_run_id)]}})


def recorded_steps(flow_run_id: UUID) -> int:
    """Return how many task runs of a run are recorded as ended."""
    count: int = _post(
        "task_runs",
        "count",
        flow_runs={"id": {"any_": [str(flow_run_id)]}},
        task_runs={"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}},
    )
    return count


def logs(flow_run_id: UUID) -> list[dict[str, Any]]:
    """Return a run's log lines, as far as they are recorded."""
    return _filtered("logs", logs={"flow_run_id": {"any_": [str(flow_run_id)]}})


def logs_of_all() -> list[dict[str, Any]]:
    """Return the latest log lines of all runs, as far as they are recorded."""
    return _filtered("logs", sort="TIMESTAMP_DESC")


def flow_runs_under_way() -> list[dict[str, Any]]:
    """Return the flow runs that Prefect holds for running."""
    return _filtered("flow_runs", flow_runs={"state": {"type": {"any_": ["RUNNING"]}}})


def states(flow_run_id: UUID) -> list[str]:
    """Return the types of the states that a flow run has been in."""
    with get_client(sync_client=True) as client:
        return [state.type.value for state in client.read_flow_run_states(flow_run_id)]


def flow_runs_that_wait() -> list[dict[str, Any]]:
    """Return the flow runs that Prefect holds for paused."""
    return _filtered("flow_runs", flow_runs={"state": {"type": {"any_": ["PAUSED"]}}})


def events(flow_run_id: UUID, name: str) -> list[dict[str, Any]]:
    """Return the events of a name that tell of a run, as far as they are recorded."""
    of_run = {"id": [f"prefect.flow-run.{flow_run_id}"]}
    answer = _post("events", "filter", filter={"event": {"name": [name]}, "any_resource": of_run})
    found: list[dict[str, Any]] = answer["events"]
    return found


def eventually(read: Callable[[], T], is_there: Callable[[T], object], seconds: float = 60.0) -> T:
    """Read until it is there: what one process records, another sees a moment later."""
    deadline = time.monotonic() + seconds
    while not is_there(found := read()):
        assert time.monotonic() < deadline, f"not within {seconds} s; there is {found!r}"
        time.sleep(0.1)
    return found


def _filtered(what: str, **conditions: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _post(what, "filter", **conditions)
    return found


def _post(what: str, verb: str, **conditions: Any) -> Any:
    path: Any = f"/{what}/{verb}"  # the client's type is a list of all paths
    with get_client(sync_client=True) as client:
        return client.request("POST", path, json=conditions).json()
