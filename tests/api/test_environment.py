"""Proxies and certificates that the environment names: used where that is safe, else told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from prefect_ruddr import ConnectionFailed, RuddrCredentials, StageUpdate, UnexpectedResponse
from prefect_ruddr.api.bounds import LARGEST_HEAD
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

from .relays import Address, Proxy, certificate, served, tls_in_front_of

Call = Callable[..., Any]

UPDATE = StageUpdate(id=UUID(EXAMPLE_STAGE_ID), probability=0.8)
HOST = "ruddr.test"
"""Known to the proxy alone."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the variables of whoever runs the tests."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    """A certificate for the host and for this machine."""
    return certificate(tmp_path, HOST, "localhost")


@pytest.fixture
def encrypted(sandbox: Sandbox, trusted: Path) -> Iterator[Address]:
    """The sandbox behind TLS."""
    url = urlsplit(sandbox.base_url)
    assert url.hostname
    assert url.port
    with served(tls_in_front_of((url.hostname, url.port), trusted)) as address:
        yield address


NUMBERS = count()


def to(credentials: RuddrCredentials, address: str) -> RuddrCredentials:
    """Return the credentials for another host and port; no client was made for them before."""
    url, seconds = f"https://{address}/api/workspace", 20 + next(NUMBERS)
    return credentials.model_copy(update={"base_url": url, "timeout_seconds": float(seconds)})


def failure(call: Call, credentials: RuddrCredentials) -> ConnectionFailed:
    """Return the error of an update that does not reach Ruddr."""
    with pytest.raises(ConnectionFailed) as caught:
        call(credentials, "update_stage", UPDATE)
    assert not caught.value.may_have_been_applied
    return caught.value


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""], ids=["with its scheme", "without a scheme"])
def test_https_goes_through_the_proxy_of_the_environment(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    *,
    encrypted: Address,
    trusted: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    scheme: str,
) -> None:
    """By a tunnel: the proxy learns the host, its own password, and nothing of the request."""
    proxy = Proxy(encrypted)
    with served(proxy.serve) as (host, port):
        monkeypatch.setenv(variable, f"{scheme}me:s%40crt@{host}:{port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        answer = call(to(ruddr_credentials, HOST), "update_stage", UPDATE)
    assert (answer.value.probability, answer.attempts) == (0.8, 1)
    assert len(sandbox.requests) == 1
    [seen] = proxy.seen
    assert seen.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic bWU6c0BjcnQ=" in seen
    assert sandbox.api_key.encode() not in seen


def test_a_host_in_no_proxy_is_reached_directly(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    *,
    encrypted: Address,
    trusted: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proxy is not asked."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "elsewhere.test,localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    call(to(ruddr_credentials, f"localhost:{encrypted[1]}"), "update_stage", UPDATE)
    assert len(sandbox.requests) == 1


def test_plain_http_never_goes_through_a_proxy(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is for this machine alone, and a proxy would read the key."""
    proxy = Proxy(("127.0.0.1", 9))
    with served(proxy.serve) as (host, port):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://{host}:{port}")
        call(ruddr_credentials, "update_stage", UPDATE)
    assert proxy.seen == []
    assert len(sandbox.requests) == 1


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 407 Who are you\r\n\r\n", id="refused"),
        pytest.param(b"HTTP/1.1 502 Bad gateway\r\n\r\n", id="broken"),
        pytest.param(b"", id="dropped"),
        pytest.param(b"SSH-2.0-nonsense\r\n", id="no proxy"),
    ],
)
def test_a_proxy_in_trouble_leaves_no_doubt(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
) -> None:
    """Nothing of the request was sent; the message says that there is a proxy, and where."""
    proxy = Proxy(("127.0.0.1", 9), answer)
    with served(proxy.serve) as (host, port):
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:s3cret@{host}:{port}")
        error = failure(call, to(ruddr_credentials, HOST))
    assert f"cannot connect to {HOST} through the proxy in HTTPS_PROXY: " in str(error)
    assert "s3cret" not in repr(error)
    assert sandbox.requests == []


def test_a_proxy_that_floods_is_cut_off(
    ruddr_credentials: RuddrCredentials, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not asked again, and nothing was sent through it."""
    proxy = Proxy(("127.0.0.1", 9), b"HTTP/1.1 200 OK\r\nA: " + b"a" * LARGEST_HEAD)
    with served(proxy.serve) as (host, port):
        monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:{port}")
        with pytest.raises(UnexpectedResponse, match="the head of the answer is longer") as caught:
            call(to(ruddr_credentials, HOST), "update_stage", UPDATE)
    assert not caught.value.may_have_been_applied


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    "value",
    [
        "ftp://me:s3cret@proxy.example",
        "http://me:s3cret@[::1",
        "http://me:s3cret@proxy.example:port",
        "http://me:s3cret@proxy.example:99999",
        "http://",
        "://me:s3cret@proxy.example",
        "http://me:s3cret@proxy..example",
    ],
)
def test_a_variable_that_names_no_proxy_is_told_by_its_name(
    ruddr_credentials: RuddrCredentials,
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
) -> None:
    """At once, before anything is sent, and without what it holds."""
    monkeypatch.setenv(variable, value)
    error = failure(call, to(ruddr_credentials, HOST))
    assert str(error).startswith(f"{variable} is not the address of a proxy")
    assert error.attempts == 0
    assert "s3cret" not in repr(error)
    assert (error.__cause__, error.__context__) == (None, None)


def test_a_socks_proxy_that_cannot_be_used_is_told(
    ruddr_credentials: RuddrCredentials, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to install."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    error = failure(call, to(ruddr_credentials, HOST))
    assert str(error).startswith("ALL_PROXY names a SOCKS proxy: install httpx[socks] to use it")


@pytest.mark.parametrize(
    ("variable", "content"),
    [
        pytest.param("SSL_CERT_FILE", None, id="no such file"),
        pytest.param("SSL_CERT_FILE", b"not a certificate", id="no certificate in it"),
        pytest.param("SSL_CERT_FILE", b"", id="empty"),
        pytest.param("SSL_CERT_DIR", None, id="no such folder"),
        pytest.param("SSL_CERT_DIR", b"", id="a file for a folder"),
    ],
)
def test_certificates_that_cannot_be_read_are_told_by_the_variable(
    ruddr_credentials: RuddrCredentials,
    call: Call,
    *,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    variable: str,
    content: bytes | None,
) -> None:
    """At once, before anything is sent."""
    path = tmp_path / "certificates"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv(variable, str(path))
    error = failure(call, to(ruddr_credentials, HOST))
    assert str(error).startswith(f"{variable} does not name certificates that can be read: ")
    assert error.attempts == 0


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("folder", [False, True], ids=["no variable", "an empty SSL_CERT_DIR"])
def test_a_server_that_nobody_vouches_for_gets_no_key(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    *,
    encrypted: Address,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    folder: bool,
) -> None:
    """Certificates are verified."""
    if folder:
        (tmp_path / "empty").mkdir()
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "empty"))
    error = failure(call, to(ruddr_credentials, f"localhost:{encrypted[1]}"))
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert sandbox.requests == []


def test_a_certificate_of_another_host_is_refused(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    *,
    encrypted: Address,
    trusted: Path,
    monkeypatch: pytest.MonkeyPatch,
    short_waits: Any,
) -> None:
    """Names are verified too."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    error = failure(call, to(ruddr_credentials, f"127.0.0.1:{encrypted[1]}"))
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert sandbox.requests == []


def test_a_plain_address_needs_no_certificates(
    ruddr_credentials: RuddrCredentials, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sandbox works where the variable is wrong."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    assert call(ruddr_credentials, "update_stage", UPDATE).attempts == 1
