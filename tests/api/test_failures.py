"""Each way a call can fail raises one class that says all that is known, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import (
    BadRequest,
    Forbidden,
    MethodNotAllowed,
    RuddrCredentials,
    RuddrRequestError,
    ServerError,
    StageConflict,
    StageNotFound,
    StageUpdate,
    TooManyRequests,
    Unauthorized,
    UnexpectedResponse,
    WorkspaceLocked,
)
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

Call = Callable[..., Any]

ID = UUID(EXAMPLE_STAGE_ID)
UPDATE = StageUpdate(id=ID, probability=0.8)
HTML = "<html><title>Sorry</title></html>"

pytestmark = pytest.mark.usefixtures("short_waits")


def failure(call: Call, credentials: RuddrCredentials, update: StageUpdate = UPDATE) -> Any:
    """Return the error of an update that fails."""
    with pytest.raises(RuddrRequestError) as caught:
        call(credentials, "update_stage", update)
    return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, Unauthorized),
        (403, Forbidden),
        (404, StageNotFound),
        (405, MethodNotAllowed),
        (409, StageConflict),
        (423, WorkspaceLocked),
        (429, TooManyRequests),
        (500, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
    ],
)
def test_a_documented_status_raises_its_class(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    status: int,
    kind: type[RuddrRequestError],
) -> None:
    """With what Ruddr said, the stage, how often it was sent, and what can be done."""
    body = {"status": status, "message": "Because.", "errors": ["name: too long"]}
    sandbox.fail_next(5, status=status, body=body)
    error = failure(call, ruddr_credentials)
    assert type(error) is kind
    assert (error.status, error.message, error.errors) == (status, "Because.", ("name: too long",))
    assert error.retryable == (status == 429 or status >= 500)
    assert error.ends_run == (status in {401, 403, 423})
    assert error.may_have_been_applied == (status >= 500)
    assert error.stage_id == ID
    assert error.attempts == len(sandbox.requests) == (5 if error.retryable else 1)


@pytest.mark.parametrize("status", [201, 202, 204, 206, 304, 402, 410, 418, 520, 599])
def test_an_undocumented_status_is_an_unexpected_response(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, status: int
) -> None:
    """Sent once: nothing is known of what it means."""
    sandbox.fail_next(status=status, body={"status": status, "message": "What?"})
    error = failure(call, ruddr_credentials)
    assert type(error) is UnexpectedResponse
    assert (error.status, error.stage_id, error.attempts) == (status, ID, 1)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 409, 429, 500, 503, 520])
@pytest.mark.parametrize("body", [HTML, "", b"\xff\x00", []], ids=repr)
def test_a_body_of_any_form_is_a_typed_error(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, status: int, body: Any
) -> None:
    """The status is known; what stands in front of Ruddr answers in its own form."""
    sandbox.fail_next(5, status=status, body=body)
    error = failure(call, ruddr_credentials)
    assert error.status == status
    assert error.stage_id == ID


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, status: int
) -> None:
    """It would turn the PATCH into a GET, or take the key to another host."""
    with Sandbox(rate=None) as elsewhere:
        sandbox.fail_next(status=status, body="", headers={"Location": elsewhere.base_url})
        error = failure(call, ruddr_credentials)
        assert elsewhere.requests == []
    assert (type(error), error.status, error.attempts) == (UnexpectedResponse, status, 1)
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param({"omit": ["name"]}, "'name' is missing", id="field missing"),
        pytest.param({"omit": ["createdAt"]}, "'createdAt' is missing", id="date missing"),
        pytest.param({"replace": {"probability": "0.8"}}, "probability: ", id="text for a number"),
        pytest.param({"replace": {"probability": None}}, "probability: ", id="null for a number"),
        pytest.param({"replace": {"isActive": "yes"}}, "is_active: ", id="text for a boolean"),
        pytest.param({"replace": {"isActive": 1}}, "is_active: ", id="number for a boolean"),
        pytest.param({"replace": {"name": 5}}, "name: ", id="number for a text"),
        pytest.param({"replace": {"name": None}}, "name: ", id="null for a name"),
        pytest.param({"replace": {"description": []}}, "description: ", id="list for a text"),
        pytest.param({"replace": {"statusId": "paused"}}, "'paused'", id="unknown status"),
        pytest.param({"replace": {"createdAt": "soon"}}, "soon", id="no date"),
        pytest.param({"replace": {"createdAt": 5}}, "", id="number for a date"),
        pytest.param({"replace": {"id": "a5f1"}}, "", id="no id"),
        pytest.param({"replace": {"id": None}}, "", id="null for an id"),
        pytest.param({"replace": {"opportunityPipelineId": "Sales"}}, "", id="no pipeline id"),
        pytest.param(
            {"replace": {"id": "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2"}},
            "it is about another stage, b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2",
            id="another stage",
        ),
        pytest.param({"body": []}, "", id="list for an object"),
        pytest.param({"body": b"null"}, "", id="null for an object"),
        pytest.param({"body": b'"stage"'}, "", id="text for an object"),
        pytest.param({"body": b"[" * 100_000}, "", id="too deep"),
        pytest.param({"body": HTML}, "", id="HTML"),
        pytest.param({"body": b""}, "", id="empty"),
        pytest.param({"body": b"\xff\xfe\xfd"}, "", id="no text"),
        pytest.param({"replace": {"probability": 1e400}}, "", id="no number of JSON"),
    ],
)
def test_a_200_that_keeps_no_promise_is_an_unexpected_response(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    fault: dict[str, Any],
    said: str,
) -> None:
    """The write took effect or not, nobody knows: it says so, and is not sent again."""
    sandbox.fail_next(**fault)
    error = failure(call, ruddr_credentials)
    assert type(error) is UnexpectedResponse
    assert (error.status, error.stage_id, error.attempts) == (200, ID, 1)
    assert "the body is not what the API promises: " in error.message
    assert said in error.message
    assert error.may_have_been_applied


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        pytest.param("workspace", {"omit": ["name"]}, id="workspace without a name"),
        pytest.param("workspace", {"replace": {"id": "x"}}, id="workspace without an id"),
        pytest.param("workspace", {"replace": {"name": 5}}, id="workspace called 5"),
        pytest.param("list_stages", {"omit": ["hasMore"]}, id="page without an end"),
        pytest.param("list_stages", {"replace": {"hasMore": "no"}}, id="page that ends in words"),
        pytest.param("list_stages", {"replace": {"results": None}}, id="page of nothing"),
        pytest.param("list_stages", {"replace": {"results": [None]}}, id="page of null"),
        pytest.param("list_stages", {"replace": {"results": [[]]}}, id="page of lists"),
    ],
)
def test_a_read_that_keeps_no_promise_is_an_unexpected_response(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    method: str,
    fault: dict[str, Any],
) -> None:
    """Nothing was written, so there is no doubt about it."""
    sandbox.fail_next(**fault)
    with pytest.raises(UnexpectedResponse) as caught:
        call(ruddr_credentials, method)
    assert not caught.value.may_have_been_applied
