"""The flows as parts of larger ones: under sync and async parents, and on other task runners."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_ruddr import RuddrCredentials, StageReport, apply_stage_updates, undo_stage_updates
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.sandbox import RecordedRequest, Sandbox

from .conftest import ALWAYS, Ask, OnRequest
from .records import artifacts, methods, patches, run
from .updates import updates_of

Updates = list[dict[str, Any]]


@task
def extract(updates: Updates) -> Updates:
    """Stand for a source."""
    return updates


@flow
def etl(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
    """Apply what a task brings."""
    return apply_stage_updates(ruddr_credentials, extract(updates))


@flow
async def async_etl(
    ruddr_credentials: RuddrCredentials, updates: Updates, **options: Any
) -> StageReport:
    """Apply from an async flow as from any: its event loop stands still meanwhile."""
    report: StageReport = apply_stage_updates(ruddr_credentials, extract(updates), **options)
    return report


@flow
async def async_etl_in_a_thread(
    ruddr_credentials: RuddrCredentials, updates: Updates, **options: Any
) -> StageReport:
    """Apply from an async flow whose event loop goes on meanwhile."""
    apply = partial(apply_stage_updates, ruddr_credentials, extract(updates), **options)
    report: StageReport = await asyncio.to_thread(apply)
    return report


pytestmark = pytest.mark.usefixtures("async_flows")

ASYNC_PARENTS = [
    pytest.param(async_etl, id="async"),
    pytest.param(async_etl_in_a_thread, id="async, in a thread"),
]


@pytest.mark.parametrize("parent", [pytest.param(etl, id="sync"), *ASYNC_PARENTS])
def test_a_larger_flow_applies_and_undoes(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, parent: Any
) -> None:
    """The report comes back to the parent, with the id of the subflow's run for an undo."""
    before = sandbox.stages
    ended = run(parent, ruddr_credentials, updates_of(sandbox, 4))
    assert ended.outcomes == ["updated"] * 4
    subflow_run_id = ended.report.flow_run_id
    assert subflow_run_id
    assert subflow_run_id != ended.flow_run_id
    assert len(artifacts(subflow_run_id, PLAN_KEY)) == 1
    assert run(undo_stage_updates, ruddr_credentials, subflow_run_id).state.is_completed()
    assert sandbox.stages == before


@pytest.mark.parametrize("parent", ASYNC_PARENTS)
def test_a_subflow_of_an_async_flow_asks_for_approval(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask, parent: Any
) -> None:
    """The subflow pauses, the answer reaches it, and the parent goes on."""
    update = updates_of(sandbox)[0]
    asked = ask(parent, ruddr_credentials, [update], **ALWAYS)
    ended = asked.answer(approve=True, digest=asked.digest)
    assert ended.outcomes == ["updated"]
    assert patches(sandbox) == [(update["id"], {"description": update["description"]})]


def dask() -> Any:
    # It takes a second to import, and changes how errors are copied.
    from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415

    return DaskTaskRunner(cluster_kwargs={"n_workers": 2, "dashboard_address": None})


RUNNERS = [
    pytest.param(lambda: ProcessPoolTaskRunner(max_workers=2), id="processes"),
    pytest.param(dask, id="Dask"),
]


@pytest.mark.long
@pytest.mark.parametrize("runner", RUNNERS)
def test_steps_run_on_another_task_runner(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, runner: Callable[[], Any]
) -> None:
    """`with_options` is all it takes; errors come back in the class they had."""
    updates = updates_of(sandbox)
    sandbox.make_read_only(updates[3]["id"])
    elsewhere = apply_stage_updates.with_options(task_runner=runner())

    ended = run(elsewhere, ruddr_credentials, updates)

    assert ended.report.counts["updated"] == 17
    assert ended.outcomes[3] == "failed"
    assert "HTTP 409" in (ended.report.outcomes[3].error or "")
    assert methods(sandbox)["PATCH"] == 18


@pytest.mark.long
def test_steps_in_other_processes_hear_of_a_stop(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """After the 401, what is being sent ends; what waits for its turn there is not sent."""
    sandbox.fail_next(status=401, method="PATCH")
    sandbox.fail_next(100, method="PATCH", delay=1.0)
    elsewhere = apply_stage_updates.with_options(task_runner=ProcessPoolTaskRunner(max_workers=2))

    ended = run(elsewhere, ruddr_credentials, updates_of(sandbox))

    sent = methods(sandbox)["PATCH"]
    assert sent <= 5, "two were under way, and a stop takes less than two seconds to get around"
    assert ended.report.counts["not_attempted"] == 18 - sent


@pytest.mark.long
def test_a_worker_that_is_killed_leaves_a_whole_account(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """What it was writing failed, the rest was not attempted, and the report is there."""
    updates = updates_of(sandbox)
    killed: list[int] = []

    def kill(request: RecordedRequest) -> None:
        if request.method == "PATCH" and not killed:
            killed.extend(child.pid or 0 for child in multiprocessing.active_children())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    on_request(kill)
    elsewhere = apply_stage_updates.with_options(task_runner=ProcessPoolTaskRunner(max_workers=1))

    ended = run(elsewhere, ruddr_credentials, updates)

    counts = ended.report.counts
    assert ended.state.is_failed()
    assert counts["failed"] >= 1
    assert "its worker was lost, it may have been carried out" in str(ended.result)
    assert counts["failed"] + counts["not_attempted"] == len(updates)
    assert run(apply_stage_updates, ruddr_credentials, updates).state.is_completed()
    assert {s["id"]: s["description"] for s in sandbox.stages} == {
        update["id"]: update["description"] for update in updates
    }
