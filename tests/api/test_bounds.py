"""No server holds an attempt longer than `timeout_seconds`, or fills the memory, sync or async."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import (
    AnswerLost,
    ConnectionFailed,
    RuddrCredentials,
    RuddrRequestError,
    ServerError,
    StageUpdate,
    TooManyRequests,
    UnexpectedResponse,
)
from prefect_ruddr.api import answers, ruddr_api, wire
from prefect_ruddr.api.bounds import LARGEST_ANSWER, LARGEST_HEAD, Bounds
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

pytestmark = pytest.mark.slow

Call = Callable[..., Any]

ID = UUID(EXAMPLE_STAGE_ID)
UPDATE = StageUpdate(id=ID, probability=0.8)

TIMEOUT = 0.3
"""Seconds that an attempt may take here."""

SLACK = 3.0
"""Seconds that a busy machine may take on top; what these servers do lasts for ever."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOTHING_PACKED = b"\x00\x00\x00\xff\xff"
"""A part of a deflate stream that unpacks to nothing."""

DRIPS = [
    pytest.param({"raw": OK, "drip": 0.05}, id="status line"),
    pytest.param({"raw": OK + b"X-Long: ", "endless": b"a", "drip": 0.001}, id="header"),
    pytest.param({"raw": OK, "endless": b"A: b\r\n", "drip": 0.01}, id="headers without an end"),
    pytest.param(
        {"endless": b"HTTP/1.1 100 Continue\r\n\r\n", "drip": 0.02}, id="100s without an end"
    ),
    pytest.param(
        {"endless": b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", "drip": 0.02},
        id="103s without an end",
    ),
    pytest.param({"raw": CHUNKED + b"5;x=", "endless": b"a", "drip": 0.001}, id="chunk extension"),
    pytest.param({"raw": CHUNKED, "endless": b"1\r\n \r\n", "drip": 0.01}, id="chunks"),
    pytest.param(
        {"raw": CHUNKED + b"2\r\n{}\r\n0\r\n", "endless": b"A: b\r\n", "drip": 0.01}, id="trailers"
    ),
    pytest.param(
        {
            "raw": OK
            + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"
            + b"a\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\r\n",
            "endless": b"5\r\n" + NOTHING_PACKED + b"\r\n",
            "drip": 0.01,
        },
        id="gzip of nothing",
    ),
]

FLOODS = [
    pytest.param({"endless": b"HTTP/1.1 100 Continue\r\n\r\n"}, "head", id="100s"),
    pytest.param({"raw": OK, "endless": b"A: b\r\n"}, "head", id="headers"),
    pytest.param({"raw": OK + b"X-Long: ", "endless": b"a" * 1000}, "head", id="a header"),
    pytest.param(
        {"raw": CHUNKED, "endless": b"400\r\n" + b" " * 1024 + b"\r\n"}, "body", id="body"
    ),
    pytest.param(
        {"raw": CHUNKED, "endless": b"1;" + b"x" * 5000 + b"\r\n \r\n"}, "body", id="extensions"
    ),
]

WHAT_IS_LONG = {
    "head": f"the head of the answer is longer than {LARGEST_HEAD >> 10} KiB",
    "body": f"the answer is longer than {LARGEST_ANSWER >> 20} MiB",
}


@pytest.fixture
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are not tried again, so that what one attempt takes can be told."""
    monkeypatch.setattr(answers, "ATTEMPTS", 1)


@pytest.fixture
def impatient(ruddr_credentials: RuddrCredentials) -> RuddrCredentials:
    """Credentials that give an attempt a fraction of a second."""
    return ruddr_credentials.model_copy(update={"timeout_seconds": TIMEOUT})


def failure(call: Call, credentials: RuddrCredentials) -> Any:
    """Return the error of an update that fails."""
    with pytest.raises(RuddrRequestError) as caught:
        call(credentials, "update_stage", UPDATE)
    return caught.value


@pytest.mark.usefixtures("one_attempt")
@pytest.mark.parametrize("fault", DRIPS)
def test_a_server_that_never_finishes_holds_an_attempt_for_its_time(
    sandbox: Sandbox, impatient: RuddrCredentials, call: Call, fault: dict[str, Any]
) -> None:
    """However it spins its answer out; the change may have been carried out by then."""
    sandbox.fail_next(**fault, carried_out=True)
    began = time.monotonic()
    error = failure(call, impatient)
    assert time.monotonic() - began < TIMEOUT + SLACK
    assert type(error) is AnswerLost
    assert error.message == "no whole answer within timeout_seconds"
    assert (error.may_have_been_applied, error.gave_up) == (True, "attempts")
    assert len(sandbox.requests) == 1


@pytest.mark.parametrize(("fault", "what"), FLOODS)
def test_a_server_that_floods_is_cut_off(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, fault: Any, what: str
) -> None:
    """By the bytes, long before the time is over; it is not asked again."""
    sandbox.fail_next(**fault)
    error = failure(call, ruddr_credentials)
    assert type(error) is UnexpectedResponse
    assert error.message == WHAT_IS_LONG[what]
    assert (error.may_have_been_applied, error.attempts) == (True, 1)
    assert len(sandbox.requests) == 1


def test_a_read_that_is_flooded_leaves_no_doubt(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Nothing was to be written."""
    sandbox.fail_next(endless=b"HTTP/1.1 100 Continue\r\n\r\n")
    with pytest.raises(UnexpectedResponse) as caught:
        call(ruddr_credentials, "get_stage", ID)
    assert not caught.value.may_have_been_applied


def test_an_answer_may_come_after_others_that_announce_it(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """As HTTP allows; only too many of them are refused."""
    body = b'{"id": "%b", "name": "Acme"}' % str(ID).encode()
    sandbox.fail_next(
        raw=b"HTTP/1.1 103 Early Hints\r\n\r\n" * 20
        + OK
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )
    assert call(ruddr_credentials, "workspace").name == "Acme"


BOMB = gzip.compress(gzip.compress(b"\0" * 2**26))
"""64 MiB in some hundreds of bytes."""


@pytest.mark.parametrize("packing", ["gzip", "gzip, gzip", "deflate", "br", "zstd", "GZIP", "x"])
def test_a_packed_answer_is_refused_as_it_is(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, packing: str
) -> None:
    """It was not asked for; it is not unpacked, so it takes no memory."""
    sandbox.fail_next(body=BOMB, headers={"Content-Encoding": packing}, carried_out=True)
    tracemalloc.start()
    try:
        error = failure(call, ruddr_credentials)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is UnexpectedResponse
    assert f"a body packed with {packing}, unasked" in error.message
    assert (error.may_have_been_applied, error.attempts) == (True, 1)
    assert peak < 2**25
    assert sandbox.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(("status", "kind"), [(429, TooManyRequests), (503, ServerError)])
@pytest.mark.usefixtures("one_attempt")
def test_a_packed_error_means_what_its_status_says(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    status: int,
    kind: type[RuddrRequestError],
) -> None:
    """A proxy that packs its pages is still a proxy in trouble."""
    sandbox.fail_next(status=status, body=BOMB, headers={"Content-Encoding": "gzip"})
    error = failure(call, ruddr_credentials)
    assert type(error) is kind
    assert error.message == "a body packed with gzip, unasked"


def test_an_answer_that_says_that_it_is_not_packed_is_read(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """`identity` is what was asked for."""
    sandbox.fail_next(headers={"Content-Encoding": "identity"})
    assert call(ruddr_credentials, "update_stage", UPDATE).value.probability == 0.8


@pytest.fixture
def silence() -> Iterator[Callable[[str, int], int]]:
    """Makes an address take no connection and refuse none: the queue before it is full."""
    with ExitStack() as stack:

        def make(host: str, port: int = 0) -> int:
            listener = stack.enter_context(socket.create_server((host, port), backlog=0))
            for _ in range(3):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            return int(listener.getsockname()[1])

        yield make


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], None]:
    """Gives `localhost` other addresses, to threads and event loops."""
    resolve = socket.getaddrinfo

    def give(addresses: list[str]) -> None:
        def found(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
            if host not in {"localhost", b"localhost"}:
                return resolve(host, port, *arguments, **options)
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))
                for address in addresses
            ]

        monkeypatch.setattr(socket, "getaddrinfo", found)

    return give


@pytest.mark.usefixtures("one_attempt")
@pytest.mark.parametrize("count", [1, 50], ids=["one address", "fifty addresses"])
def test_a_host_that_takes_no_connection_is_waited_for_within_the_time(
    impatient: RuddrCredentials,
    call: Call,
    silence: Callable[..., int],
    resolved: Callable[[list[str]], None],
    count: int,
) -> None:
    """All its addresses share that time; nothing was sent, so nothing was carried out."""
    resolved(["127.0.0.1"] * count)
    url = f"http://localhost:{silence('127.0.0.1')}/api/workspace"
    began = time.monotonic()
    error = failure(call, impatient.model_copy(update={"base_url": url}))
    assert time.monotonic() - began < TIMEOUT + SLACK
    assert type(error) is ConnectionFailed
    assert not error.may_have_been_applied


def test_an_address_that_is_silent_leaves_time_for_the_next_one(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    silence: Callable[..., int],
    resolved: Callable[[list[str]], None],
) -> None:
    """As where a host has an address in a network that is not there."""
    port = int(sandbox.base_url.split("/")[2].partition(":")[2])
    silence("127.0.0.2", port)
    resolved(["127.0.0.2", "127.0.0.1"])
    url = sandbox.base_url.replace("127.0.0.1", "localhost")
    credentials = ruddr_credentials.model_copy(update={"base_url": url, "timeout_seconds": 4.0})
    assert call(credentials, "update_stage", UPDATE).attempts == 1


@pytest.mark.usefixtures("one_attempt")
def test_a_host_that_nobody_knows_was_not_reached(
    impatient: RuddrCredentials, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a typed error with what the resolver says."""

    def unknown(*_: Any, **options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = failure(call, impatient.model_copy(update={"base_url": "http://localhost:9/workspace"}))
    assert type(error) is ConnectionFailed
    assert "cannot connect to localhost: " in error.message


@pytest.mark.usefixtures("one_attempt")
def test_a_tls_handshake_that_never_ends_is_waited_for_within_the_time(
    impatient: RuddrCredentials, call: Call
) -> None:
    """A server that takes the connection and then says nothing of TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/api/workspace"
        began = time.monotonic()
        error = failure(call, impatient.model_copy(update={"base_url": url}))
    assert time.monotonic() - began < TIMEOUT + SLACK
    assert type(error) is ConnectionFailed
    assert not error.may_have_been_applied


@pytest.mark.usefixtures("one_attempt")
def test_waiting_for_a_connection_is_not_an_attempts_time(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve requests of 0.2 s on two connections take 1.2 s; each has 1 s, and is answered."""
    for module in (wire, ruddr_api):
        monkeypatch.setattr(module, "MOST_CONNECTIONS", 2)
    api = ruddr_credentials.model_copy(update={"timeout_seconds": 1.0}).get_client()
    sandbox.fail_next(24, delay=0.2)

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(api.aupdate_stage(UPDATE) for _ in range(12)))

    began = time.monotonic()
    with ThreadPoolExecutor(12) as threads:
        answered = list(threads.map(lambda _: api.update_stage(UPDATE), range(12)))
    assert time.monotonic() - began > 1.0
    assert [a.attempts for a in answered + asyncio.run(all_at_once())] == [1] * 24


def test_the_time_of_an_attempt_runs_out() -> None:
    """And then no step of it gets any."""
    bounds = Bounds(0.0, is_write=True)
    with pytest.raises(TimeoutError):
        bounds.seconds_left()


def test_no_thread_is_left_behind(
    sandbox: Sandbox, impatient: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is kept on the socket, not by a thread that watches over another."""
    monkeypatch.setattr(answers, "ATTEMPTS", 1)
    sandbox.fail_next(3, raw=OK, endless=b"A: b\r\n", drip=0.01)
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(AnswerLost):
            impatient.get_client().update_stage(UPDATE)
    assert threading.active_count() == before
