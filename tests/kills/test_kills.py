"""SIGKILL at any moment: the same flow again ends where one run would have, and writes once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL
from prefect.states import Pending

from prefect_ruddr import RuddrCredentials, apply_stage_updates, undo_stage_updates
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.sandbox import RecordedRequest, Sandbox
from runs.conftest import OnRequest
from runs.records import Ended, artifacts, flow_runs_named, patches, run
from runs.updates import updates_of

STAGES = 40

Moment = Callable[[Sandbox, RecordedRequest], bool]
"""Tells, of each request that arrives, whether this is when to kill the process."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with so many stages that a run of them has a middle."""
    with Sandbox(stages=STAGES, rate=None) as running:
        yield running


def while_reading(_: Sandbox, request: RecordedRequest) -> bool:
    """Kill before there is a plan."""
    return request.method == "GET"


def before_the_first_write(sandbox: Sandbox, request: RecordedRequest) -> bool:
    """Kill after the plan; the first PATCH, and what is under way with it, gets lost."""
    if request.method == "PATCH":
        sandbox.fail_next(method="PATCH", drop=True)
    return request.method == "PATCH"


def after_writes(count: int) -> Moment:
    """Kill when so many stages have been sent; what is under way with the last is written."""

    def is_it(sandbox: Sandbox, request: RecordedRequest) -> bool:
        return request.method == "PATCH" and len(patches(sandbox)) == count

    return is_it


def between_writes_and_their_record(sandbox: Sandbox, request: RecordedRequest) -> bool:
    """Kill when all that is under way has been written, and no answer has come back."""
    if request.method == "PATCH":
        sandbox.fail_next(method="PATCH", path=request.path, hang=True, carried_out=True)
    return len(patches(sandbox)) == 16


MOMENTS = [
    pytest.param(after_writes(20), range(20, STAGES), id="in the middle"),
    pytest.param(while_reading, [0], id="while reading", marks=pytest.mark.long),
    pytest.param(before_the_first_write, [0], id="before the first write", marks=pytest.mark.long),
    pytest.param(after_writes(1), range(1, 17), id="at the first write", marks=pytest.mark.long),
    pytest.param(
        between_writes_and_their_record,
        [16],
        id="between writes and their record",
        marks=pytest.mark.long,
    ),
    pytest.param(after_writes(STAGES), [STAGES], id="at the last write", marks=pytest.mark.long),
]


def killed(
    sandbox: Sandbox, updates: list[dict[str, Any]], on_request: OnRequest, moment: Moment
) -> UUID:
    """Apply updates in a process of its own, kill that at the moment, and return the run's id."""
    name = f"killed-{uuid4()}"
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("apply.py"), name],
        env={
            **os.environ,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "RUDDR_API_KEY": sandbox.api_key,
            "RUDDR_BASE_URL": sandbox.base_url,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def kill(request: RecordedRequest) -> None:
        if process.returncode is None and moment(sandbox, request):
            process.kill()

    on_request(kill)
    with process:
        process.communicate(json.dumps(updates).encode(), timeout=120)
    assert process.returncode == -9
    (flow_run,) = flow_runs_named(name)
    assert flow_run["state_type"] == "RUNNING"
    assert artifacts(UUID(flow_run["id"]), OUTCOMES_KEY) == []
    sandbox.clear_faults()
    return UUID(flow_run["id"])


@pytest.mark.usefixtures("prefect_api")
@pytest.mark.parametrize(("moment", "possible"), MOMENTS)
def test_the_same_flow_again_ends_where_one_run_would_have(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    on_request: OnRequest,
    moment: Moment,
    possible: Sequence[int],
) -> None:
    """Every stage holds what was asked for, and what had been written is not written again."""
    updates = updates_of(sandbox)
    killed(sandbox, updates, on_request, moment)
    written = {i for i, description in descriptions(sandbox).items() if description == f"{i}."}
    assert len(written) in possible
    sandbox.clear_requests()

    again = run(apply_stage_updates, ruddr_credentials, updates)

    assert again.state.is_completed()
    assert descriptions(sandbox) == {update["id"]: update["description"] for update in updates}
    missing = [update["id"] for update in updates if update["id"] not in written]
    assert sorted(stage_id for stage_id, _ in patches(sandbox)) == sorted(missing)


@pytest.mark.long
@pytest.mark.usefixtures("prefect_api")
def test_an_undo_undoes_what_a_killed_run_wrote(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """It left a plan and no account; what it had not written is found as it was."""
    before = sandbox.stages
    flow_run_id = killed(sandbox, updates_of(sandbox), on_request, after_writes(20))
    assert len(artifacts(flow_run_id, PLAN_KEY)) == 1
    written = len(set(descriptions(sandbox).items()) - set(descriptions_of(before).items()))
    assert 20 <= written < STAGES

    undo = run(undo_stage_updates, ruddr_credentials, flow_run_id)

    assert undo.state.is_completed()
    assert undo.report.counts["updated"] == written
    assert undo.report.counts["unchanged"] == STAGES - written
    assert sandbox.stages == before


@pytest.mark.long
@pytest.mark.usefixtures("prefect_api")
def test_an_undo_knows_of_a_killed_attempt_behind_one_that_only_failed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """A worker that starts the same flow run again may get no further than to report a 401."""
    before = sandbox.stages
    updates = updates_of(sandbox)
    flow_run_id = killed(sandbox, updates, on_request, after_writes(20))
    sandbox.fail_next(status=401)
    again = started_again(flow_run_id, ruddr_credentials, updates)
    assert again.report.counts["not_attempted"] == STAGES

    undo = run(undo_stage_updates, ruddr_credentials, flow_run_id)

    assert undo.report.counts["updated"] >= 20
    assert sandbox.stages == before


def started_again(
    flow_run_id: UUID, ruddr_credentials: RuddrCredentials, updates: list[dict[str, Any]]
) -> Ended:
    """Run a flow run once more, as a worker does with one that has crashed."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run_id, Pending(), force=True)
        flow_run = client.read_flow_run(flow_run_id)
    state: Any = run_flow(
        apply_stage_updates,
        flow_run=flow_run,
        parameters={"ruddr_credentials": ruddr_credentials, "updates": updates},
        return_type="state",
    )
    return Ended(state)


def descriptions(sandbox: Sandbox) -> dict[str, str | None]:
    return descriptions_of(sandbox.stages)


def descriptions_of(stages: list[dict[str, Any]]) -> dict[str, str | None]:
    return {stage["id"]: stage["description"] for stage in stages}
