"""Trouble on request: by call, by header, and over HTTP."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import ValidationError

from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Fault, Sandbox

from .conftest import EXAMPLE, client_of

HALF = {"probability": 0.5}


def probability(sandbox: Sandbox) -> float:
    value = sandbox.stage(EXAMPLE_STAGE_ID)["probability"]
    assert isinstance(value, float)
    return value


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 423, 429, 500, 502, 503, 504, 520])
def test_a_status_comes_with_the_documented_body(
    sandbox: Sandbox, ruddr: httpx.Client, status: int
) -> None:
    """A status alone answers in the form of the contract's Error; nothing is carried out."""
    sandbox.fail_next(status=status)
    answer = ruddr.patch(EXAMPLE, json=HALF)
    assert answer.status_code == answer.json()["status"] == status
    assert answer.json()["message"]
    assert probability(sandbox) == 0.75


@pytest.mark.parametrize(
    ("body", "content_type", "received"),
    [
        ("<h1>Bad gateway</h1>", "text/html; charset=utf-8", b"<h1>Bad gateway</h1>"),
        ("", "text/html; charset=utf-8", b""),
        (b"\xff\x00", None, b"\xff\x00"),
        ({"status": "x"}, "application/json", b'{"status":"x"}'),
        ([1], "application/json", b"[1]"),
    ],
    ids=["HTML", "empty", "bytes", "object", "list"],
)
def test_any_body_can_be_answered(
    sandbox: Sandbox, ruddr: httpx.Client, body: Any, content_type: str | None, received: bytes
) -> None:
    """HTML, nothing, bytes and JSON go out as given, with any status, 200 included."""
    sandbox.fail_next(body=body)
    sandbox.fail_next(body=body, status=502)
    for status in (200, 502):
        answer = ruddr.get(EXAMPLE)
        assert (answer.status_code, answer.content) == (status, received)
        assert answer.headers.get("content-type") == content_type


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_that_has_no_body_gets_none(
    sandbox: Sandbox, ruddr: httpx.Client, status: int
) -> None:
    """204 and 304 are answered without a body, whatever was asked for."""
    sandbox.fail_next(status=status, body="text")
    answer = ruddr.get(EXAMPLE)
    assert (answer.status_code, answer.content) == (status, b"")


def test_headers_can_be_added(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Retry-After, a redirect's Location or another content type go out as given."""
    sandbox.fail_next(status=429, headers={"Retry-After": "7"})
    sandbox.fail_next(status=302, headers={"Location": "/elsewhere"})
    sandbox.fail_next(body="plain", headers={"Content-Type": "text/plain"})
    assert ruddr.get(EXAMPLE).headers["retry-after"] == "7"
    assert ruddr.get(EXAMPLE).headers["location"] == "/elsewhere"
    assert ruddr.get(EXAMPLE).headers.get_list("content-type") == ["text/plain"]


def test_faults_are_met_in_the_order_they_were_asked_for(
    sandbox: Sandbox, ruddr: httpx.Client
) -> None:
    """Two calls queue up; after them requests work again."""
    sandbox.fail_next(2, status=503)
    sandbox.fail_next(status=429)
    assert [ruddr.get(EXAMPLE).status_code for _ in range(4)] == [503, 503, 429, 200]


def test_a_fault_waits_for_its_method_and_path(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Other requests pass by a fault that is meant for one method or one stage."""
    other = sandbox.stages[5]["id"]
    sandbox.fail_next(method="patch", path=other, status=500)
    assert ruddr.get(f"opportunity-stages/{other}").status_code == 200
    assert ruddr.patch(EXAMPLE, json=HALF).status_code == 200
    assert ruddr.patch(f"opportunity-stages/{other}", json=HALF).status_code == 500
    assert ruddr.patch(f"opportunity-stages/{other}", json=HALF).status_code == 200


def test_waiting_faults_can_be_cleared(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """After `clear_faults` requests work again."""
    sandbox.fail_next(5, status=503)
    assert ruddr.get(EXAMPLE).status_code == 503
    sandbox.clear_faults()
    assert ruddr.get(EXAMPLE).status_code == 200


def test_a_fault_in_front_of_ruddr_uses_no_token() -> None:
    """What answers in its place knows neither keys nor limits."""
    with Sandbox(rate=0.001, burst=1) as sandbox, client_of(sandbox) as ruddr:
        sandbox.fail_next(3, status=502)
        assert [ruddr.get(EXAMPLE).status_code for _ in range(4)] == [502, 502, 502, 200]
        assert ruddr.get(EXAMPLE).status_code == 429


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"drop": True}, httpx.RemoteProtocolError),
        ({"cut": 0, "status": 200, "body": "text"}, httpx.RemoteProtocolError),
        ({"hang": True}, httpx.ReadTimeout),
        ({"status": 503, "delay": 60}, httpx.ReadTimeout),
    ],
    ids=["dropped", "cut", "hanging", "late"],
)
@pytest.mark.parametrize("carried_out", [False, True])
def test_no_whole_answer_arrives(
    sandbox: Sandbox,
    ruddr: httpx.Client,
    fault: dict[str, Any],
    error: type[Exception],
    carried_out: bool,
) -> None:
    """The connection breaks or nothing comes, before or after the change took effect."""
    sandbox.fail_next(**fault, carried_out=carried_out)
    with pytest.raises(error):
        ruddr.patch(EXAMPLE, json=HALF, timeout=0.3)
    assert probability(sandbox) == (0.5 if carried_out else 0.75)
    assert ruddr.get(EXAMPLE).status_code == 200


def test_an_error_can_come_after_the_change_took_effect(
    sandbox: Sandbox, ruddr: httpx.Client
) -> None:
    """With `carried_out` the stage is changed although the answer says 504."""
    sandbox.fail_next(status=504, body="<h1>Timeout</h1>", carried_out=True)
    assert ruddr.patch(EXAMPLE, json=HALF).status_code == 504
    assert probability(sandbox) == 0.5


def test_a_real_answer_can_break_off(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`cut` sends the real answer's first bytes and hangs up; the change took effect."""
    sandbox.fail_next(cut=20)
    with pytest.raises(httpx.RemoteProtocolError, match="received 20 bytes, expected"):
        ruddr.patch(EXAMPLE, json=HALF)
    assert probability(sandbox) == 0.5


def test_a_field_can_be_missing_or_of_a_wrong_type(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`omit` and `replace` damage the real answer; the stage itself is sound."""
    sandbox.fail_next(omit=("name", "createdAt"), replace={"probability": "high", "new": None})
    answer = ruddr.patch(EXAMPLE, json=HALF).json()
    assert "name" not in answer
    assert "createdAt" not in answer
    assert (answer["probability"], answer["new"], answer["isActive"]) == ("high", None, True)
    assert sandbox.stage(EXAMPLE_STAGE_ID)["name"] == "Negotiation"
    assert probability(sandbox) == 0.5


def test_a_delayed_answer_is_the_real_one(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`delay` alone keeps the answer back for so many seconds."""
    sandbox.fail_next(delay=0.2)
    started = time.monotonic()
    assert ruddr.patch(EXAMPLE, json=HALF).json()["probability"] == 0.5
    assert 0.2 <= time.monotonic() - started < 5


def test_a_body_can_drip(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`drip` sends the body a byte at a time, so that no single read is slow."""
    sandbox.fail_next(body="0123456789", drip=0.02)
    started = time.monotonic()
    with ruddr.stream("GET", EXAMPLE) as answer:
        pieces = list(answer.iter_raw())
    assert b"".join(pieces) == b"0123456789"
    assert len(pieces) > 1
    assert 0.2 <= time.monotonic() - started < 5


def test_bytes_can_go_out_as_they_are(sandbox: Sandbox) -> None:
    """`raw` is no answer that a server would make; the connection is closed after it."""
    sandbox.fail_next(raw=b"HTTP/9.9 so it goes\r\n")
    with connection_to(sandbox) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        assert connection.makefile("rb").read() == b"HTTP/9.9 so it goes\r\n"


@pytest.mark.parametrize("drip", [0, 0.001])
def test_bytes_can_go_out_without_an_end(
    sandbox: Sandbox, ruddr: httpx.Client, drip: float
) -> None:
    """`endless` follows `raw` for as long as the client stays, and holds up nobody else."""
    sandbox.fail_next(raw=b"HTTP/1.1 200 OK\r\n", endless=b"X-More: yes\r\n", drip=drip)
    with connection_to(sandbox) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        wait_for_requests(sandbox, 1)
        received = connection.makefile("rb").read(30 if drip else 10**6)
        assert received.startswith(b"HTTP/1.1 200 OK\r\nX-More: yes\r\n"[:30])
        assert ruddr.get(EXAMPLE).status_code == 200


def test_what_goes_out_raw_is_not_carried_out_unless_told(
    sandbox: Sandbox, ruddr: httpx.Client
) -> None:
    """As with `drop` and `hang`."""
    for carried_out, expected in ((False, 0.75), (True, 0.5)):
        sandbox.fail_next(raw=b"", carried_out=carried_out)
        with pytest.raises(httpx.RemoteProtocolError):
            ruddr.patch(EXAMPLE, json=HALF)
        assert probability(sandbox) == expected


@pytest.mark.parametrize("body", ["<p>{authorization}", {"message": "{authorization}"}], ids=repr)
def test_a_key_can_be_echoed(sandbox: Sandbox, ruddr: httpx.Client, body: Any) -> None:
    """In the body and in a header, as a careless server does; but not in what is recorded."""
    sandbox.fail_next(status=400, body=body, headers={"X-Was": "{authorization}"}, echo=True)
    answer = ruddr.get(EXAMPLE)
    assert f"Bearer {sandbox.api_key}" in answer.text
    assert answer.headers["x-was"] == f"Bearer {sandbox.api_key}"
    assert sandbox.requests[-1].headers["authorization"] == "[redacted]"


def test_a_hanging_answer_does_not_hold_up_others(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Other requests are answered while one hangs."""
    sandbox.fail_next(hang=True)
    with connection_to(sandbox) as hanging:
        hanging.sendall(b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        wait_for_requests(sandbox, 1)
        assert ruddr.get(EXAMPLE).status_code == 200


def test_leaving_ends_what_still_hangs() -> None:
    """Leaving the context is quick with answers hanging, dripping and late, and drops them."""
    with Sandbox(rate=None) as sandbox:
        sandbox.fail_next(hang=True)
        sandbox.fail_next(body="0123456789", drip=60)
        sandbox.fail_next(status=503, delay=60)
        connections = [connection_to(sandbox) for _ in range(3)]
        for connection in connections:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: sandbox\r\n\r\n")
        wait_for_requests(sandbox, 3)
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 5
    assert not [t for t in threading.enumerate() if t.name == "ruddr-sandbox"]
    for connection in connections:
        while connection.recv(1000):
            pass
        connection.close()


def test_a_request_can_carry_its_fault(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The header Sandbox-Fault concerns this request alone, and goes before waiting faults."""
    sandbox.fail_next(status=503)
    fault = {"status": 502, "body": "<h1>Bad gateway</h1>", "headers": {"Retry-After": "1"}}
    answer = ruddr.get(EXAMPLE, headers={"Sandbox-Fault": json.dumps(fault)})
    assert (answer.status_code, answer.text) == (502, "<h1>Bad gateway</h1>")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert [ruddr.get(EXAMPLE).status_code for _ in range(2)] == [503, 200]


def test_faults_can_be_asked_for_over_http(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """POST /sandbox/faults takes a fault and its count, needs no key and is not recorded."""
    url = sandbox.base_url.removesuffix("/api/workspace") + "/sandbox/faults"
    answer = httpx.post(url, json={"status": 503, "count": 2, "method": "GET"})
    assert answer.status_code == 204
    assert [ruddr.get(EXAMPLE).status_code for _ in range(3)] == [503, 503, 200]
    assert len(sandbox.requests) == 3


def test_faults_can_be_cleared_over_http(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """DELETE /sandbox/faults forgets those that wait; other methods are 405."""
    url = sandbox.base_url.removesuffix("/api/workspace") + "/sandbox/faults"
    sandbox.fail_next(5, status=503)
    assert httpx.delete(url).status_code == 204
    assert httpx.get(url).headers["allow"] == "DELETE, POST"
    assert ruddr.get(EXAMPLE).status_code == 200


WRONG_FAULTS: list[dict[str, Any]] = [
    {"stauts": 503},
    {"status": 100},
    {"status": 600},
    {"delay": -1},
    {"delay": float("inf")},
    {"cut": -1},
    {"headers": {"X": "a\r\nY: b"}},
    {"headers": {"X": "é"}},
    {"headers": {"Content-Length": "5"}},
    {"endless": b""},
]


@pytest.mark.parametrize("fields", WRONG_FAULTS, ids=str)
def test_a_fault_that_cannot_be_is_refused(sandbox: Sandbox, fields: dict[str, Any]) -> None:
    """An unknown field or a value out of range is an error where the fault is asked for."""
    with pytest.raises(ValidationError):
        sandbox.fail_next(**fields)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"status": "x"}', '{"stauts": 503}', '{"count": 0}', '{"count": 2.5}']
)
def test_a_fault_that_cannot_be_is_refused_over_http(
    sandbox: Sandbox, ruddr: httpx.Client, text: str
) -> None:
    """It is 400 with the reason, and the next request works."""
    url = sandbox.base_url.removesuffix("/api/workspace") + "/sandbox/faults"
    answer = httpx.post(url, content=text)
    assert answer.status_code == 400
    assert answer.json()["errors"]
    assert ruddr.get(EXAMPLE).status_code == 200


def test_a_header_that_is_no_fault_is_refused(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """A Sandbox-Fault that cannot be read is 400, and the request is not carried out."""
    answer = ruddr.patch(EXAMPLE, json=HALF, headers={"Sandbox-Fault": "503"})
    assert answer.status_code == 400
    assert probability(sandbox) == 0.75


def test_a_fault_without_fields_changes_nothing(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The default of every field is the real answer."""
    assert Fault().carries_out
    sandbox.fail_next()
    assert ruddr.patch(EXAMPLE, json=HALF).json()["probability"] == 0.5


def connection_to(sandbox: Sandbox) -> socket.socket:
    url = urlsplit(sandbox.base_url)
    return socket.create_connection((url.hostname, url.port), timeout=10)


def wait_for_requests(sandbox: Sandbox, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(sandbox.requests) < count:
        assert time.monotonic() < deadline, "the requests did not arrive"
        time.sleep(0.001)
