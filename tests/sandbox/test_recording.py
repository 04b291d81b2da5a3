"""What a sandbox remembers of the requests it has received."""

from __future__ import annotations

import time

import httpx
import pytest

from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

from .conftest import EXAMPLE, client_of


def test_a_request_is_recorded_as_it_arrived(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Method, path, body, status and time of arrival can be asserted on."""
    before = time.monotonic()
    ruddr.patch(EXAMPLE, content=b'{"probability":2}', headers={"Content-Type": "application/json"})
    [request] = sandbox.requests
    assert request.method == "PATCH"
    assert request.path == f"/api/workspace/opportunity-stages/{EXAMPLE_STAGE_ID}"
    assert request.body == b'{"probability":2}'
    assert request.json == {"probability": 2}
    assert request.headers["content-type"] == "application/json"
    assert request.status == 400
    assert before <= request.arrived <= time.monotonic()


def test_the_query_is_part_of_the_path(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """It is kept as it was sent, percent-encoding included."""
    ruddr.get("opportunity-stages?name=Verbal%20Commit&limit=1")
    assert sandbox.requests[0].path.endswith("/opportunity-stages?name=Verbal%20Commit&limit=1")
    assert sandbox.requests[0].json is None


def test_the_key_is_not_recorded(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The value of Authorization is redacted, right or wrong."""
    ruddr.get(EXAMPLE)
    httpx.get(sandbox.base_url, headers={"Authorization": "Bearer wrong-key"})
    assert [r.headers["authorization"] for r in sandbox.requests] == ["[redacted]"] * 2
    assert "sandbox-key" not in repr(sandbox.requests)
    assert "wrong-key" not in repr(sandbox.requests)


def test_a_request_without_a_key_shows_it(sandbox: Sandbox) -> None:
    """No Authorization header is recorded when none was sent."""
    httpx.get(sandbox.base_url)
    assert "authorization" not in sandbox.requests[0].headers


def test_requests_are_kept_in_order_of_arrival(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Refused and failed requests are in the list too."""
    sandbox.fail_next(status=503, method="DELETE")
    for method in ("GET", "DELETE", "PUT"):
        ruddr.request(method, EXAMPLE)
    assert [(r.method, r.status) for r in sandbox.requests] == [
        ("GET", 200),
        ("DELETE", 503),
        ("PUT", 405),
    ]
    assert sorted(r.arrived for r in sandbox.requests) == [r.arrived for r in sandbox.requests]


def test_a_request_that_got_no_answer_has_no_status(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """A dropped connection leaves the status None."""
    sandbox.fail_next(drop=True)
    with pytest.raises(httpx.RemoteProtocolError):
        ruddr.get(EXAMPLE)
    assert sandbox.requests[0].status is None


def test_the_recording_can_be_cleared(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """After `clear_requests` only later requests are there."""
    ruddr.get(EXAMPLE)
    sandbox.clear_requests()
    ruddr.get("opportunity-stages")
    assert [r.path for r in sandbox.requests] == ["/api/workspace/opportunity-stages"]


@pytest.mark.parametrize(("record", "kept"), [(0, []), (2, ["/2", "/3"])])
def test_the_recording_can_be_bounded(record: int, kept: list[str]) -> None:
    """`record` is how many of the latest requests are remembered; 0 is none."""
    with Sandbox(rate=None, record=record) as sandbox, client_of(sandbox) as ruddr:
        for number in range(4):
            ruddr.get(f"/{number}")
        assert [r.path.removeprefix("/api/workspace") for r in sandbox.requests] == kept
