"""Every end leaves an account: interrupted, cancelled, in an outage, or without Prefect."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials, apply_stage_updates, undo_stage_updates
from prefect_ruddr.errors import RunStopped
from prefect_ruddr.machine import private_folder
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.runs import applying
from prefect_ruddr.runs.stopping import CANCELLATION_POLL_SECONDS, STOPPED, Stop, Watch
from prefect_ruddr.sandbox import RecordedRequest, Sandbox
from prefect_ruddr.stages.outcome import SUMMARY_KEY

from .conftest import OnRequest
from .records import (
    eventually,
    flow_runs_named,
    flow_runs_under_way,
    markdown,
    methods,
    patches,
    run,
    table,
)
from .updates import updates_of

APPLY = Path(__file__).parents[1] / "kills" / "apply.py"


@pytest.fixture
def slow() -> Iterator[Sandbox]:
    """A workspace of more stages than are on their way at once."""
    with Sandbox(stages=50, rate=None) as sandbox:
        yield sandbox


def started(sandbox: Sandbox, name: str) -> subprocess.Popen[bytes]:
    """Start an apply of all stages in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, APPLY, name],
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
    assert process.stdin is not None
    process.stdin.write(json.dumps(updates_of(sandbox)).encode())
    process.stdin.close()
    return process


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(signal.SIGTERM, id="SIGTERM"),
        pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_interrupted_leaves_an_account(
    slow: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest, sent: signal.Signals
) -> None:
    """Ctrl-C or SIGTERM in the middle: outcomes, summary, and an undo that restores all."""
    before = slow.stages
    slow.fail_next(50, method="PATCH", delay=1.0)
    name = f"interrupted-{uuid4()}"
    process = started(slow, name)
    at: list[float] = []

    def interrupt(_: RecordedRequest) -> None:
        if len(patches(slow)) >= 10 and not at:
            at.append(time.monotonic())
            process.send_signal(sent)

    on_request(interrupt)
    process.wait(timeout=120)

    late = [r for r in slow.requests if r.method == "PATCH" and r.arrived > at[0] + 2]
    assert late == []
    (flow_run,) = flow_runs_named(name)
    flow_run_id = UUID(flow_run["id"])
    outcomes = [row["outcome"] for row in table(flow_run_id, OUTCOMES_KEY)]
    assert len(outcomes) == 50
    assert outcomes.count("not_attempted") >= 10
    said = markdown(flow_run_id, SUMMARY_KEY)
    assert "interrupted" in said
    assert "## How to undo it" in said
    held = {s["id"]: s["description"] for s in slow.stages}
    for row, update in zip(table(flow_run_id, OUTCOMES_KEY), updates_of(slow), strict=True):
        if row["written"] != "in doubt":
            written = held[update["id"]] == update["description"]
            assert written == (row["outcome"] == "updated")
    slow.clear_faults()
    key = ruddr_credentials.model_copy(
        update={"api_key": SecretStr(slow.api_key), "base_url": slow.base_url}
    )
    run(undo_stage_updates, key, flow_run_id)
    assert slow.stages == before


@contextmanager
def handled_by(handler: Any) -> Iterator[None]:
    """Have SIGINT handled so, whatever whoever started the tests wants of it."""
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_ignores_stops_a_run_all_the_same() -> None:
    """It is handled in whatever code runs just then, and some code may raise nothing."""
    stop, something = Stop(), Sandbox()
    is_gone = weakref.ref(something, lambda _: signal.raise_signal(signal.SIGINT))

    with handled_by(signal.default_int_handler), Watch(stop):
        del something

    assert is_gone() is None
    with pytest.raises(RunStopped, match="interrupted by SIGINT"):
        stop.check()


def test_an_interrupt_waits_until_a_step_has_been_started() -> None:
    """Amid the locks of the step's future it could leave one taken, and the run would hang."""
    reached: list[str] = []

    def start() -> None:
        with stop.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            reached.append("the end of the start")
        reached.append("what comes next")

    with handled_by(signal.default_int_handler), Watch(stop := Stop()):
        with pytest.raises(KeyboardInterrupt):
            start()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # and elsewhere at once, as ever

    assert reached == ["the end of the start"]
    with pytest.raises(RunStopped, match="interrupted by SIGINT"):
        stop.check()


def test_a_signal_that_a_person_handles_does_not_stop_a_run() -> None:
    """Whoever has a handler that raises nothing wants the run to go on."""
    handled: list[int] = []

    with handled_by(lambda number, _: handled.append(number)), Watch(stop := Stop()):
        signal.raise_signal(signal.SIGINT)

    stop.check()
    assert handled == [signal.SIGINT]


def test_a_run_that_prefect_cancels_writes_no_more(slow: Sandbox) -> None:
    """Also in a thread that no signal reaches: once it has heard of it, and with an account.

    It asks each second. A busy Prefect takes seconds to answer, so here the run has 40 s to hear.
    """
    assert CANCELLATION_POLL_SECONDS <= 1
    key = RuddrCredentials(
        api_key=SecretStr(slow.api_key), base_url=slow.base_url, requests_per_second=1, burst=10
    )
    at: list[float] = []
    others = {record["id"] for record in flow_runs_under_way()}
    earlier_stops = set(private_folder().glob(f"{STOPPED}-*"))

    def cancel() -> None:
        (found,) = eventually(
            lambda: [r for r in flow_runs_under_way() if r["id"] not in others],
            lambda found: found and len(patches(slow)) >= 5,
        )
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(UUID(found["id"]), Cancelling(), force=True)
        eventually(lambda: set(private_folder().glob(f"{STOPPED}-*")) - earlier_stops, bool)
        at.append(time.monotonic())

    thread = threading.Thread(target=copy_context().run, args=(cancel,))
    thread.start()
    ended = run(apply_stage_updates, key, updates_of(slow))
    thread.join()

    assert ended.state.is_cancelling()
    # What is on its way by then may still arrive.
    assert [r for r in slow.requests if r.method == "PATCH" and r.arrived > at[0] + 1] == []
    rows = table(ended.flow_run_id, OUTCOMES_KEY)
    left = [row for row in rows if row["outcome"] == "not_attempted"]
    assert len(left) == 50 - len(patches(slow)) > 0
    assert "is Cancelling" in left[0]["error"]
    assert "may succeed when run again" in markdown(ended.flow_run_id, SUMMARY_KEY)


@pytest.mark.usefixtures("short_waits")
def test_an_outage_ends_the_run(
    slow: Sandbox, ruddr_credentials: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After three calls in a row that used up their attempts, nothing more is sent."""
    monkeypatch.setattr(applying, "CONCURRENCY", 1)
    key = ruddr_credentials.model_copy(
        update={"api_key": SecretStr(slow.api_key), "base_url": slow.base_url}
    )
    slow.fail_next(1000, method="PATCH", status=503)
    ended = run(apply_stage_updates, key, updates_of(slow))
    counts = ended.report.counts
    assert (counts["failed"], counts["not_attempted"]) == (3, 47)
    assert methods(slow)["PATCH"] == 3 * 5
    left = ended.report.outcomes[-1]
    assert "Run it again when Ruddr answers" in (left.error or "")
    assert len(ended.report.retryable()) == 50


def test_an_answer_that_asks_for_a_long_wait_ends_the_run(
    slow: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Retry-After of a day: what is under way ends, and the message says when to try again."""
    key = ruddr_credentials.model_copy(
        update={"api_key": SecretStr(slow.api_key), "base_url": slow.base_url}
    )
    slow.fail_next(1000, method="PATCH", status=429, headers={"Retry-After": "86400"})
    ended = run(apply_stage_updates, key, updates_of(slow))
    assert methods(slow)["PATCH"] <= applying.CONCURRENCY
    left = ended.report.outcomes[-1]
    assert left.outcome == "not_attempted"
    assert "Try again after 20" in (left.error or "")
    assert left.retryable


@pytest.mark.long
def test_an_undo_refuses_a_run_that_goes_on(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """It may still be writing, so undoing it now would undo half."""
    arrived, refused = threading.Event(), threading.Event()

    def hold(request: RecordedRequest) -> None:
        if request.method == "PATCH":
            arrived.set()
            refused.wait(timeout=60)

    on_request(hold)
    name = f"goes-on-{uuid4()}"
    process = started(sandbox, name)
    assert arrived.wait(timeout=60)
    (flow_run,) = flow_runs_named(name)
    undo = run(undo_stage_updates, ruddr_credentials, UUID(flow_run["id"]))
    refused.set()
    assert type(undo.result).__name__ == "RunNotEnded"
    assert "has not ended, it is Running" in str(undo.result)
    process.wait(timeout=120)
    assert {s["description"] for s in sandbox.stages} == {
        update["description"] for update in updates_of(sandbox)
    }
    again: Any = run(undo_stage_updates, ruddr_credentials, UUID(flow_run["id"]))
    assert again.report.counts["updated"] == len(sandbox.stages)
