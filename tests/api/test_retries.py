"""What is tried again, when, and how anybody learns of it, sync and async."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import Log
from prefect.logging.handlers import APILogHandler
from stamina.instrumentation import RetryDetails, get_on_retry_hooks, set_on_retry_hooks

from prefect_ruddr import (
    RuddrCredentials,
    RuddrRequestError,
    ServerError,
    StageUpdate,
    TooManyRequests,
    update_opportunity_stage,
)
from prefect_ruddr.api import answers
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

Call = Callable[..., Any]

ID = UUID(EXAMPLE_STAGE_ID)
UPDATE = StageUpdate(id=ID, probability=0.8)


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("failures", [1, 4])
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_trouble_that_passes_is_sat_out(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, status: int, failures: int
) -> None:
    """The same PATCH again, up to five times in all, and the answer counts them."""
    sandbox.fail_next(failures, status=status)
    answer = call(ruddr_credentials, "update_stage", UPDATE)
    assert (answer.value.probability, answer.attempts) == (0.8, failures + 1)
    assert {(r.method, r.path, r.body) for r in sandbox.requests} == {
        (
            "PATCH",
            f"/api/workspace/opportunity-stages/{EXAMPLE_STAGE_ID}",
            b'{"probability":0.8}',
        )
    }


def test_each_attempt_waits_longer_than_the_one_before(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    short_waits: tuple[float, ...],
) -> None:
    """The table of waits is kept on the wire."""
    sandbox.fail_next(4, status=503)
    call(ruddr_credentials, "update_stage", UPDATE)
    arrived = [request.arrived for request in sandbox.requests]
    gaps = [after - before for before, after in pairwise(arrived)]
    assert len(gaps) == len(short_waits)
    assert all(gap >= wait for gap, wait in zip(gaps, short_waits, strict=True))


@pytest.fixture
def long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a minute where nothing says otherwise: what is quicker was told so."""
    monkeypatch.setattr(answers, "WAITS", (60.0,) * len(answers.WAITS))


@pytest.mark.usefixtures("long_waits")
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_after_is_obeyed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, status: int
) -> None:
    """It takes the place of what would have been waited."""
    sandbox.fail_next(status=status, headers={"Retry-After": "0.15"})
    call(ruddr_credentials, "update_stage", UPDATE)
    first, second = (request.arrived for request in sandbox.requests)
    assert 0.15 <= second - first < 30


@pytest.mark.usefixtures("long_waits")
def test_a_retry_after_that_is_a_date_is_obeyed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """A date that has passed means now."""
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    sandbox.fail_next(4, status=503, headers={"Retry-After": past})
    assert call(ruddr_credentials, "update_stage", UPDATE).attempts == 5
    assert sandbox.requests[-1].arrived - sandbox.requests[0].arrived < 30


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param("61", id="seconds"),
        pytest.param(
            format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True), id="date"
        ),
    ],
)
def test_a_retry_after_of_more_than_a_minute_fails_at_once(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, asked: str
) -> None:
    """With the wait in the message, for whoever schedules the next run."""
    sandbox.fail_next(status=429, headers={"Retry-After": asked})
    with pytest.raises(TooManyRequests, match=r"The server asks to wait \d\d+ s\.") as caught:
        call(ruddr_credentials, "update_stage", UPDATE)
    assert caught.value.attempts == 1
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > answers.LONGEST_WAIT
    assert (caught.value.gave_up, caught.value.retryable) == ("wait", True)
    assert caught.value.retry_at is not None
    wait = caught.value.retry_at - datetime.now(UTC)
    assert abs(wait.total_seconds() - caught.value.retry_after) < 30
    assert f"Try again after {caught.value.retry_at:%Y-%m-%d %H:%M:%S} UTC." in str(caught.value)
    assert len(sandbox.requests) == 1


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"drop": True}], ids=str)
def test_a_call_that_used_up_its_attempts_says_so(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, fault: dict[str, Any]
) -> None:
    """Whoever makes many calls can tell an outage from one bad request."""
    sandbox.fail_next(5, **fault)
    with pytest.raises(RuddrRequestError) as caught:
        call(ruddr_credentials, "update_stage", UPDATE)
    assert (caught.value.gave_up, caught.value.retryable) == ("attempts", True)
    assert caught.value.retry_at is None


@pytest.mark.parametrize("fault", [{"status": 400}, {"status": 520}, {"body": b"?"}], ids=str)
def test_a_call_that_was_refused_gave_up_nothing(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, fault: dict[str, Any]
) -> None:
    """Another attempt would have been of no use, and other calls may work."""
    sandbox.fail_next(**fault)
    with pytest.raises(RuddrRequestError) as caught:
        call(ruddr_credentials, "update_stage", UPDATE)
    assert caught.value.gave_up is None


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("last", [400, 404, 409], ids=str)
def test_a_refusal_does_not_undo_what_an_earlier_attempt_may_have_written(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, last: int
) -> None:
    """The first answer was lost after the change took effect; the second one is no doubt."""
    sandbox.fail_next(drop=True, carried_out=True)
    sandbox.fail_next(status=last)
    with pytest.raises(RuddrRequestError) as caught:
        call(ruddr_credentials, "update_stage", UPDATE)
    assert (caught.value.status, caught.value.attempts) == (last, 2)
    assert caught.value.may_have_been_applied
    assert sandbox.stage(ID)["probability"] == 0.8


@pytest.mark.usefixtures("short_waits")
def test_each_retry_is_a_warning(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which attempt, how long the wait, and why; outside a run in the package's own log."""
    sandbox.fail_next(2, status=503, body={"status": 503, "message": "Maintenance."})
    with caplog.at_level(logging.WARNING, logger="prefect_ruddr"):
        call(ruddr_credentials, "update_stage", UPDATE)
    said = [r.getMessage() for r in caplog.records if r.name == "prefect_ruddr"]
    assert said == [
        f"Attempt {attempt} of 5 failed, the next is in 0.0 s: stage {ID}: HTTP 503:"
        f" Maintenance.{sent} The change may have been carried out: read the stage to know."
        for attempt, sent in [(1, ""), (2, " [sent 2 times]")]
    ]


@pytest.mark.usefixtures("short_waits")
def test_stamina_tells_its_hooks_of_each_retry(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """The first failure too: whoever counts retries by stamina's instrumentation sees them all."""
    told: list[tuple[int, Exception]] = []

    def tell(details: RetryDetails) -> None:
        told.append((details.retry_num, details.caused_by))

    hooks = get_on_retry_hooks()
    set_on_retry_hooks([tell])
    try:
        sandbox.fail_next(2, status=503)
        call(ruddr_credentials, "update_stage", UPDATE)
    finally:
        set_on_retry_hooks(hooks)
    assert [number for number, _ in told] == [1, 2]
    assert [error.attempts for _, error in told if isinstance(error, ServerError)] == [1, 2]


def logs_of(flow_run_id: UUID) -> list[Log]:
    """Return what the Prefect API has recorded of a run's log."""
    APILogHandler().flush()
    of_run = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return client.read_logs(of_run, limit=200, offset=0)


@pytest.mark.usefixtures("short_waits", "prefect_api")
def test_each_retry_is_a_warning_in_the_log_of_the_run(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Where somebody who looks at the run in Prefect's UI finds it, at the task run it is of."""

    @flow
    def change() -> UUID:
        state = update_opportunity_stage(ruddr_credentials, UPDATE, return_state=True)
        assert state.state_details.flow_run_id is not None
        return state.state_details.flow_run_id

    sandbox.fail_next(status=429)
    warnings = [log for log in logs_of(change()) if log.level == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].message.startswith("Attempt 1 of 5 failed, the next is in 0.0 s: ")
    assert warnings[0].task_run_id is not None
