"""A run that a person's own code starts: it ends well, its report is whole, an undo finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner
from prefect.transactions import Transaction, get_transaction, transaction

from prefect_ruddr import (
    RuddrCredentials,
    StageReport,
    StageUpdatesFailed,
    apply_stage_updates,
    undo_stage_updates,
)
from prefect_ruddr.sandbox import Sandbox
from runs.updates import updates_of
from starting.users_annotated_flows import recalibrated_annotated
from starting.users_flows import recalibrated

Updates = list[dict[str, Any]]
Way = Callable[[RuddrCredentials, Updates], StageReport]

pytestmark = pytest.mark.usefixtures("prefect_api", "async_flows")


def from_a_script(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
    return apply_stage_updates(ruddr_credentials, updates)


def from_a_notebook(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
    async def cell() -> StageReport:
        return apply_stage_updates(ruddr_credentials, updates)

    return asyncio.run(cell())


def from_a_notebook_in_a_thread(
    ruddr_credentials: RuddrCredentials, updates: Updates
) -> StageReport:
    async def cell() -> StageReport:
        return await asyncio.to_thread(apply_stage_updates, ruddr_credentials, updates)

    return asyncio.run(cell())


def under_a_sync_flow(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
    @flow
    def parent() -> StageReport:
        return apply_stage_updates(ruddr_credentials, updates)

    return parent()


def under_an_async_flow(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
    @flow
    async def parent() -> StageReport:
        return apply_stage_updates(ruddr_credentials, updates)

    return asyncio.run(parent())


def with_options(**options: Any) -> Way:
    """Start a copy of the flow that has other options."""

    def start(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
        return apply_stage_updates.with_options(**options)(ruddr_credentials, updates)

    return start


def steps_on(make_runner: Callable[[], Any]) -> Way:
    """Have the steps of the flow run on another task runner."""

    def start(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
        elsewhere = apply_stage_updates.with_options(task_runner=make_runner())
        return elsewhere(ruddr_credentials, updates)

    return start


def by_a_task_on(make_runner: Callable[[], Any], their_task: Any = recalibrated) -> Way:
    """Have a task of the user's own call the flow, on a task runner."""

    def start(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
        @flow(task_runner=make_runner())
        def parent() -> StageReport:
            report: StageReport = their_task.submit(ruddr_credentials, updates).result()
            return report

        return parent()

    return start


def in_a_transaction(ruddr_credentials: RuddrCredentials, updates: Updates) -> StageReport:
    @flow
    def parent() -> StageReport:
        with transaction():
            return apply_stage_updates(ruddr_credentials, updates)

    return parent()


def threads() -> Any:
    return ThreadPoolTaskRunner(max_workers=2)


def processes() -> Any:
    return ProcessPoolTaskRunner(max_workers=1)


def dask() -> Any:
    # It takes seconds to import.
    from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415

    cluster = {"n_workers": 1, "threads_per_worker": 2, "processes": True}
    return DaskTaskRunner(cluster_kwargs=cluster | {"dashboard_address": None})


def elsewhere(way: Way, name: str) -> Any:
    """A way that starts processes, which takes seconds and leaves warnings of theirs."""
    theirs = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
    return pytest.param(way, id=name, marks=[pytest.mark.long, theirs])


WAYS = [
    pytest.param(from_a_script, id="a script"),
    pytest.param(from_a_notebook, id="a notebook"),
    pytest.param(from_a_notebook_in_a_thread, id="a notebook, in a thread", marks=pytest.mark.long),
    pytest.param(under_a_sync_flow, id="a sync flow", marks=pytest.mark.long),
    pytest.param(under_an_async_flow, id="an async flow", marks=pytest.mark.long),
    pytest.param(with_options(retries=1, log_prints=True, timeout_seconds=60), id="with options"),
    pytest.param(steps_on(threads), id="steps in threads", marks=pytest.mark.long),
    elsewhere(steps_on(processes), "steps in processes"),
    elsewhere(steps_on(dask), "steps on Dask"),
    pytest.param(by_a_task_on(threads), id="a task in a thread"),
    elsewhere(by_a_task_on(processes), "a task in a process"),
    elsewhere(by_a_task_on(dask), "a task on Dask"),
    elsewhere(by_a_task_on(processes, recalibrated_annotated), "an annotated task in a process"),
    elsewhere(by_a_task_on(dask, recalibrated_annotated), "an annotated task on Dask"),
    pytest.param(in_a_transaction, id="a transaction", marks=pytest.mark.long),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_run_ends_well_and_an_undo_finds_it(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, way: Way
) -> None:
    """However it was started: each update is accounted for, and the run's id takes it all back."""
    before = sandbox.stages
    updates = updates_of(sandbox, 3)

    report = way(ruddr_credentials, updates)

    assert [(str(o.stage_id), o.outcome) for o in report.outcomes] == [
        (update["id"], "updated") for update in updates
    ]
    assert [sandbox.stage(update["id"])["description"] for update in updates] == [
        update["description"] for update in updates
    ]
    require_undone(sandbox, ruddr_credentials, report, before)


def test_a_retry_of_the_flow_finishes_what_its_first_attempt_left(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """It is one run, so its id undoes what both attempts wrote."""
    before = sandbox.stages
    updates = updates_of(sandbox, 3)
    sandbox.fail_next(path=updates[1]["id"], method="PATCH", status=409)

    report = apply_stage_updates.with_options(retries=1)(ruddr_credentials, updates)

    assert [o.outcome for o in report.outcomes] == ["unchanged", "updated", "unchanged"]
    require_undone(sandbox, ruddr_credentials, report, before)


@pytest.mark.long
def test_a_retry_of_a_larger_flow_leaves_the_first_run_to_an_undo(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Each attempt starts a run of its own; the second finds everything as it should be."""
    before = sandbox.stages
    reports: list[StageReport] = []

    @flow(retries=1)
    def parent() -> None:
        reports.append(apply_stage_updates(ruddr_credentials, updates_of(sandbox, 3)))
        if len(reports) == 1:
            raise RuntimeError("what comes after it fails")

    parent()

    first, second = reports
    assert (first.counts["updated"], second.counts["unchanged"]) == (3, 3)
    assert first.flow_run_id != second.flow_run_id
    require_undone(sandbox, ruddr_credentials, first, before)


@pytest.mark.long
def test_a_transaction_that_rolls_back_leaves_ruddr_to_an_undo(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Prefect rolls back tasks that say how; what was written to Ruddr stays until it is undone."""
    before = sandbox.stages
    reports: list[StageReport] = []

    @flow
    def parent() -> None:
        with transaction():
            reports.append(apply_stage_updates(ruddr_credentials, updates_of(sandbox, 3)))
            raise RuntimeError("what comes after it fails")

    with pytest.raises(RuntimeError, match="what comes after it fails"):
        parent()

    assert sandbox.stages != before
    require_undone(sandbox, ruddr_credentials, reports[0], before)


def test_a_task_can_roll_back_with_an_undo(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Prefect calls the hook once what comes after the task in the transaction fails."""
    before = sandbox.stages

    @task
    def recalibrate() -> None:
        report = apply_stage_updates(ruddr_credentials, updates_of(sandbox, 3))
        own = get_transaction()
        assert own is not None
        own.set("flow_run_id", report.flow_run_id)
        assert sandbox.stages != before

    @recalibrate.on_rollback
    def undo(of_task: Transaction) -> None:
        undo_stage_updates(ruddr_credentials, of_task.get("flow_run_id"))

    @flow
    def parent() -> None:
        with transaction():
            recalibrate()
            raise RuntimeError("what comes after it fails")

    with pytest.raises(RuntimeError, match="what comes after it fails"):
        parent()

    assert sandbox.stages == before


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(by_a_task_on(threads), id="a thread"),
        elsewhere(by_a_task_on(processes), "a process"),
        elsewhere(by_a_task_on(dask), "Dask"),
    ],
)
def test_a_failure_comes_back_with_its_report(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, way: Way
) -> None:
    """Also from another process, so that the caller can act on each outcome."""
    before = sandbox.stages
    updates = updates_of(sandbox, 3)
    sandbox.make_read_only(updates[1]["id"])

    with pytest.raises(StageUpdatesFailed) as failed:
        way(ruddr_credentials, updates)

    report = failed.value.report
    assert [o.outcome for o in report.outcomes] == ["updated", "failed", "updated"]
    require_undone(sandbox, ruddr_credentials, report, before)


def require_undone(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    report: StageReport,
    before: list[dict[str, Any]],
) -> None:
    """Undo the run that a report is of, and require that every stage is as it was."""
    assert report.flow_run_id
    assert undo_stage_updates(ruddr_credentials, report.flow_run_id).succeeded
    assert sandbox.stages == before
