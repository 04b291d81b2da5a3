"""No whole answer arrived: every such call ends in time, in a typed error, sync and async."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import (
    AnswerLost,
    ConnectionFailed,
    RuddrCredentials,
    RuddrRequestError,
    StageUpdate,
    UnexpectedResponse,
)
from prefect_ruddr.api.bounds import LARGEST_ANSWER
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

Call = Callable[..., Any]

ID = UUID(EXAMPLE_STAGE_ID)
UPDATE = StageUpdate(id=ID, probability=0.8)

LOST = [
    pytest.param({"drop": True}, id="dropped before it took effect"),
    pytest.param({"drop": True, "carried_out": True}, id="dropped after it took effect"),
    pytest.param({"cut": 10}, id="cut in its body"),
    pytest.param({"hang": True}, id="no answer"),
    pytest.param({"hang": True, "carried_out": True}, id="no answer after it took effect"),
    pytest.param({"delay": 5}, id="late"),
    pytest.param({"drip": 0.05}, id="dripping"),
]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_waits")]


@pytest.fixture
def impatient(ruddr_credentials: RuddrCredentials) -> RuddrCredentials:
    """Credentials that give an attempt a fraction of a second."""
    return ruddr_credentials.model_copy(update={"timeout_seconds": 0.4})


def failure(call: Call, credentials: RuddrCredentials, *method: Any) -> Any:
    """Return the error of a call that fails, by default of an update."""
    with pytest.raises(RuddrRequestError) as caught:
        call(credentials, *(method or ("update_stage", UPDATE)))
    return caught.value


@pytest.mark.parametrize("fault", LOST)
def test_an_answer_that_is_lost_is_asked_for_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, fault: dict[str, Any]
) -> None:
    """The values are absolute, so the second PATCH puts right whatever the first one did."""
    # Long enough for a busy machine to answer the second.
    key = ruddr_credentials.model_copy(update={"timeout_seconds": 1.5})
    sandbox.fail_next(**fault)
    answer = call(key, "update_stage", UPDATE)
    assert (answer.value.probability, answer.attempts) == (0.8, 2)
    assert [request.json for request in sandbox.requests] == [{"probability": 0.8}] * 2
    assert sandbox.stage(ID)["probability"] == 0.8


@pytest.mark.parametrize("fault", LOST)
def test_an_answer_that_is_always_lost_leaves_a_doubt(
    sandbox: Sandbox, impatient: RuddrCredentials, call: Call, fault: dict[str, Any]
) -> None:
    """Five attempts of a fraction of a second each: it does not wait for what never comes."""
    sandbox.fail_next(5, **fault)
    began = time.monotonic()
    error = failure(call, impatient)
    assert time.monotonic() - began < 20
    assert type(error) is AnswerLost
    assert (error.status, error.stage_id, error.attempts) == (None, ID, 5)
    assert error.may_have_been_applied
    assert len(sandbox.requests) == 5


def test_an_answer_to_a_read_that_is_lost_leaves_no_doubt(
    sandbox: Sandbox, impatient: RuddrCredentials, call: Call
) -> None:
    """Nothing was to be written."""
    sandbox.fail_next(5, drop=True)
    error = failure(call, impatient, "get_stage", ID)
    assert type(error) is AnswerLost
    assert not error.may_have_been_applied


def test_an_answer_that_never_ends_is_not_read_to_its_end(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Ten MiB are more than any answer of Ruddr, and little enough to hold."""
    sandbox.fail_next(body=b" " * (LARGEST_ANSWER + 1))
    error = failure(call, ruddr_credentials)
    assert type(error) is UnexpectedResponse
    assert error.message == "the answer is longer than 10 MiB"
    assert error.may_have_been_applied
    assert error.attempts == 1


def test_a_long_error_page_is_not_kept(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """The error has a short text of it, and no more."""
    sandbox.fail_next(status=400, body="<p>" + "x" * 10**6)
    assert len(str(failure(call, ruddr_credentials))) < 400


def test_a_server_that_is_not_there_was_not_reached(
    ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """So nothing was carried out, and the address is what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    credentials = ruddr_credentials.model_copy(
        update={"base_url": f"http://{address}/api/workspace"}
    )
    error = failure(call, credentials)
    assert type(error) is ConnectionFailed
    assert (error.stage_id, error.attempts, error.may_have_been_applied) == (ID, 5, False)
    assert str(error).startswith(f"stage {ID}: cannot connect to 127.0.0.1: ConnectError: ")
    assert str(error).endswith(" Check base_url and the network.")


def test_a_server_without_encryption_gets_no_key(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """An https address is spoken to in TLS, or not at all."""
    https = sandbox.base_url.replace("http:", "https:")
    error = failure(call, ruddr_credentials.model_copy(update={"base_url": https}))
    assert type(error) is ConnectionFailed
    assert sandbox.requests == []


def test_the_next_call_after_a_failure_is_as_good_as_new(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """A broken connection is not used again."""
    sandbox.fail_next(5, cut=10)
    failure(call, ruddr_credentials)
    assert call(ruddr_credentials, "update_stage", UPDATE).attempts == 1
