"""What somebody edits while a run goes on is never overwritten unseen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import uuid4

import pytest
from prefect.concurrency.sync import concurrency
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials, apply_stage_updates, undo_stage_updates
from prefect_ruddr.api import calls, reading
from prefect_ruddr.machine import locked
from prefect_ruddr.runs import applying, steps
from prefect_ruddr.sandbox import RecordedRequest, Sandbox

from .conftest import OnRequest
from .records import eventually, logs_of_all, methods, patches, run
from .updates import updates_of

EDITED = "A colleague was here."

Moment = Callable[[RecordedRequest], bool]


PAGE_SIZE = 10
"""In place of 100, so that a list has several pages without hundreds of stages."""


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the list has ten stages, and half a page is read again at a time."""
    for module in (calls, reading):
        monkeypatch.setattr(module, "PAGE_SIZE", PAGE_SIZE)
    monkeypatch.setattr(applying, "MOST_IN_A_SLICE", PAGE_SIZE // 2)


@pytest.fixture
def large(short_pages: None) -> Iterator[Sandbox]:
    """A workspace of more stages than are written after one reading."""
    with Sandbox(stages=12, rate=None) as sandbox:
        yield sandbox


def key_to(sandbox: Sandbox) -> RuddrCredentials:
    """Return the key to a sandbox that the test has made itself."""
    return RuddrCredentials(
        api_key=SecretStr(sandbox.api_key),
        base_url=sandbox.base_url,
        requests_per_second=1000,
        burst=1000,
    )


def edit_at(
    on_request: OnRequest, moment: Moment, edit: Callable[[RecordedRequest], object]
) -> None:
    """Do something once, when the first request arrives of which the moment is true."""
    done = threading.Event()

    def look(request: RecordedRequest) -> None:
        if moment(request) and not done.is_set():
            done.set()
            edit(request)

    on_request(look)


def the_workspace_is_read(request: RecordedRequest) -> bool:
    """The last request before the plan is published."""
    return request.path.endswith("/workspace")


def a_stage_is_written(request: RecordedRequest) -> bool:
    """The first PATCH."""
    return request.method == "PATCH"


def about(request: RecordedRequest) -> str:
    """Return the stage that a request is about."""
    return request.path.rsplit("/", 1)[1]


def test_an_edit_after_the_plan_is_a_conflict_and_stays(
    large: Sandbox, on_request: OnRequest
) -> None:
    """All of them, wherever in the list: live unlike before is not written."""
    edited = [stage["id"] for stage in large.stages[::4]]
    edit_at(
        on_request,
        the_workspace_is_read,
        lambda _: [large.edit(stage_id, description=EDITED) for stage_id in edited],
    )
    updates = updates_of(large)

    ended = run(apply_stage_updates, key_to(large), updates)

    assert ended.state.is_failed()
    said = {str(o.stage_id): o for o in ended.report.outcomes}
    assert {key for key, o in said.items() if o.outcome == "conflict"} == set(edited)
    assert ended.report.counts["updated"] == len(updates) - len(edited)
    assert all(large.stage(stage_id)["description"] == EDITED for stage_id in edited)
    assert not {stage_id for stage_id, _ in patches(large)} & set(edited)
    assert (said[edited[0]].error or "").endswith(
        f"was changed since it was planned, not written: description is {EDITED!r} now"
    )
    assert not said[edited[0]].retryable


def test_an_edit_while_others_are_written_is_a_conflict_too(
    large: Sandbox, on_request: OnRequest
) -> None:
    """Each part of the list is read again just before its stages are written."""
    last = large.stages[-1]["id"]
    edit_at(on_request, a_stage_is_written, lambda _: large.edit(last, description=EDITED))

    ended = run(apply_stage_updates, key_to(large), updates_of(large))

    assert ended.outcomes == ["updated"] * 11 + ["conflict"]
    assert large.stage(last)["description"] == EDITED


def test_what_somebody_has_done_already_is_not_done_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """Live equal to after is unchanged; an edit of another field is no conflict."""
    done, elsewhere = (stage["id"] for stage in sandbox.stages[:2])

    def edit(_: RecordedRequest) -> None:
        sandbox.edit(done, probability=0.37)
        sandbox.edit(elsewhere, description=EDITED)

    edit_at(on_request, the_workspace_is_read, edit)
    updates = [{"id": stage_id, "probability": 0.37} for stage_id in (done, elsewhere)]
    ended = run(apply_stage_updates, ruddr_credentials, updates)
    assert ended.outcomes == ["unchanged", "updated"]
    assert patches(sandbox) == [(elsewhere, {"probability": 0.37})]


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"drop": True}, id="its answer is lost"),
        pytest.param({"drop": True, "carried_out": True}, id="its answer is lost, and it is done"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"status": 429}, id="429"),
    ],
)
def test_an_edit_between_an_attempt_and_the_next_is_a_conflict(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    on_request: OnRequest,
    fault: dict[str, Any],
) -> None:
    """The stage is read before the second PATCH, which is then not sent."""
    stage_id = sandbox.stages[0]["id"]
    sandbox.fail_next(method="PATCH", **fault)
    sent = threading.Event()
    edit_at(
        on_request,
        lambda request: sent.is_set() and about(request) == stage_id,
        lambda _: sandbox.edit(stage_id, description=EDITED),
    )
    edit_at(on_request, a_stage_is_written, lambda _: sent.set())

    (outcome,) = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 1)).report.outcomes

    assert outcome.outcome == "conflict"
    assert sandbox.stage(stage_id)["description"] == EDITED
    assert len(patches(sandbox)) == 1
    assert outcome.written is (None if "drop" in fault or fault["status"] == 503 else False)


@pytest.mark.usefixtures("short_waits")
def test_a_write_whose_answer_was_lost_is_not_sent_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """It was carried out, as reading the stage shows: that spares the second PATCH."""
    sandbox.fail_next(method="PATCH", drop=True, carried_out=True)
    (outcome,) = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 1)).report.outcomes
    assert (outcome.outcome, outcome.attempts, outcome.written) == ("updated", 1, True)
    assert len(patches(sandbox)) == 1
    assert (outcome.error or "").endswith("read back: it had been carried out")


def test_the_report_tells_what_is_so_at_the_end(large: Sandbox, on_request: OnRequest) -> None:
    """A stage that somebody edits after it was written is a conflict that names both values."""
    first, last = large.stages[0]["id"], large.stages[-1]["id"]
    edit_at(
        on_request,
        lambda request: request.method == "PATCH" and about(request) == last,
        lambda _: large.edit(first, description=EDITED),
    )
    wanted = updates_of(large)[0]["description"]

    ended = run(apply_stage_updates, key_to(large), updates_of(large))

    outcome = ended.report.outcomes[0]
    assert outcome.outcome == "conflict"
    assert outcome.written
    assert outcome.error == (
        f"written, but somebody has changed it since: description is {EDITED!r}, not {wanted!r}"
    )
    assert ended.report.counts["updated"] == 11
    sandbox_before_undo = large.stage(first)["description"]
    undo = run(undo_stage_updates, key_to(large), ended.flow_run_id)
    assert undo.report.counts["conflict"] == 1
    assert large.stage(first)["description"] == sandbox_before_undo == EDITED


def test_where_the_end_cannot_be_read_the_report_says_so(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """What Ruddr confirmed is still updated."""
    edit_at(
        on_request,
        a_stage_is_written,
        lambda _: sandbox.fail_next(method="GET", status=423),
    )
    ended = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox))
    assert ended.report.counts["updated"] == 18
    (warning,) = ended.report.warnings
    assert warning.startswith("The stages could not be read once more after the last was written")


def test_an_edit_during_an_undo_stays(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """An undo reads each stage again before it writes it, as an apply does."""
    first = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox))
    stage_id = sandbox.stages[3]["id"]
    edit_at(
        on_request,
        lambda request: "limit=" in request.path,
        lambda _: sandbox.edit(stage_id, description=EDITED),
    )
    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)
    assert undo.report.counts["conflict"] == 1
    assert sandbox.stage(stage_id)["description"] == EDITED


@pytest.mark.usefixtures("short_waits")
def test_a_reading_that_has_grown_old_is_made_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a stage waits long for its turn, it is read once more by itself."""
    monkeypatch.setattr(steps, "OLD_SECONDS", -1.0)
    run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 3))
    assert methods(sandbox) == {"GET": 1 + 1 + 1 + 3 + 1, "PATCH": 3}


@pytest.mark.usefixtures("short_pages")
def test_looking_costs_three_requests_for_each_page() -> None:
    """Two pages: read for the plan and whose key it is, in two halves before writing, and after."""
    with Sandbox(stages=2 * PAGE_SIZE, rate=None) as sandbox:
        run(apply_stage_updates, key_to(sandbox), updates_of(sandbox))
        assert methods(sandbox) == {"GET": 2 + 1 + 4 + 2, "PATCH": 2 * PAGE_SIZE}


@contextmanager
def on_this_machine(sandbox: Sandbox, _: RuddrCredentials) -> Iterator[None]:
    """Have the turn as another run of the machine has it."""
    with locked(f"writing-{sandbox.workspace['id']}"):
        yield


@contextmanager
def on_another_machine(_: Sandbox, ruddr_credentials: RuddrCredentials) -> Iterator[None]:
    """Have the turn as a run of another machine has it, which shares no folder."""
    ruddr_credentials.ensure_global_concurrency_limit()
    with concurrency(str(ruddr_credentials.writers_limit), strict=True):
        yield


@pytest.mark.parametrize(
    "somebody_writes", [on_this_machine, pytest.param(on_another_machine, marks=pytest.mark.long)]
)
def test_a_run_waits_for_the_one_that_writes_to_its_workspace(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, somebody_writes: Any
) -> None:
    """It says so in its log, and plans on what the other has left."""
    shared = ruddr_credentials.model_copy(update={"global_concurrency_limit": f"ruddr-{uuid4()}"})
    updates = updates_of(sandbox)
    earlier = waiting()
    with ThreadPoolExecutor() as threads:
        with somebody_writes(sandbox, shared):
            shared.ensure_global_concurrency_limit()
            started = threads.submit(copy_context().run, run, apply_stage_updates, shared, updates)
            eventually(waiting, lambda found: found - earlier, seconds=180)
            sandbox.edit(updates[0]["id"], description=updates[0]["description"])
            assert patches(sandbox) == []
        ended = started.result(timeout=120)
    assert ended.outcomes == ["unchanged"] + ["updated"] * 17


def waiting() -> set[str]:
    """Return the ids of the log lines that say that a run waits."""
    return {line["id"] for line in logs_of_all() if "waiting for" in line["message"]}


def test_a_run_that_writes_has_the_turn_to_itself(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """While it writes nobody else gets the turn, and afterwards everybody does."""
    free: list[bool] = []

    def try_the_turn(request: RecordedRequest) -> None:
        if request.method == "PATCH":
            with locked(f"writing-{sandbox.workspace['id']}") as taken:
                free.append(taken)

    on_request(try_the_turn)
    run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 3))
    assert free == [False] * 3
    with locked(f"writing-{sandbox.workspace['id']}") as taken:
        assert taken


def test_a_run_that_may_overlap_waits_for_nobody(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The caller says so, and takes it on that the other run may win."""
    with locked(f"writing-{sandbox.workspace['id']}"):
        ended = run(
            apply_stage_updates, ruddr_credentials, updates_of(sandbox, 1), allow_overlap=True
        )
    assert ended.outcomes == ["updated"]
