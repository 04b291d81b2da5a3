"""One request over the wire: the only module that asks with httpx.

The clients here send the key, keep each attempt within its bounds, and raise a typed error for
every answer but a 200, before the generated client tries to parse it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpcore
import httpx
from pydantic import SecretStr

from prefect_ruddr import __version__
from prefect_ruddr.api.answers import error_of
from prefect_ruddr.api.bounds import Bounds, in_force
from prefect_ruddr.api.connection import MOST_CONNECTIONS, Connection
from prefect_ruddr.api.network import AsyncNetwork, Network
from prefect_ruddr.api.proxies import environment_proxy
from prefect_ruddr.errors import AnswerLost, ConnectionFailed, NoAnswer

_BROKEN = (
    TimeoutError,
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
)


def sync_client(connection: Connection) -> httpx.Client:
    """Return a client for threads; it may be shared by any number of them.

    Raises:
        ConnectionFailed: A variable of the environment names a proxy or certificates that cannot
            be used.
    """
    return httpx.Client(transport=_Transport(connection), **_options(connection))


def async_client(connection: Connection) -> httpx.AsyncClient:
    """Return a client for the event loop that is running, and for no other.

    Raises:
        ConnectionFailed: As for `sync_client`.
    """
    return httpx.AsyncClient(transport=_AsyncTransport(connection), **_options(connection))


def _options(connection: Connection) -> dict[str, Any]:
    return {
        "base_url": connection.root_url,
        "auth": _BearerAuth(connection.api_key),
        "headers": {
            "Accept": "application/json",
            # What is packed small can be larger than any memory.
            "Accept-Encoding": "identity",
            "User-Agent": f"prefect-ruddr/{__version__}",
        },
        # A request does not depend on earlier answers.
        "cookies": CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    }


class _BearerAuth(httpx.Auth):
    def __init__(self, api_key: SecretStr) -> None:
        self._api_key = api_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        yield request


class _Transport(httpx.BaseTransport):
    def __init__(self, connection: Connection) -> None:
        self._route = _Route(connection)
        network = Network(encrypted=self._route.encrypted)
        self._pool = httpcore.ConnectionPool(network_backend=network, **self._route.pool_options())

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with in_force(self._route.bounds(request)) as bounds:
            try:
                answer = self._pool.handle_request(_to_send(request))
                try:
                    bounds.head_is_whole()
                    body = bytearray()
                    for chunk in answer.iter_stream():
                        bounds.count_body(chunk)
                        body += chunk
                finally:
                    answer.close()
            except _BROKEN as error:
                raise self._route.failure(error, bounds) from None
        return _judged(request, answer, bytes(body))

    def close(self) -> None:
        self._pool.close()


class _AsyncTransport(httpx.AsyncBaseTransport):
    def __init__(self, connection: Connection) -> None:
        self._route = _Route(connection)
        network = AsyncNetwork(encrypted=self._route.encrypted)
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=network, **self._route.pool_options()
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        with in_force(self._route.bounds(request)) as bounds:
            try:
                answer = await self._pool.handle_async_request(_to_send(request))
                try:
                    bounds.head_is_whole()
                    body = bytearray()
                    async for chunk in answer.aiter_stream():
                        bounds.count_body(chunk)
                        body += chunk
                finally:
                    await answer.aclose()
            except _BROKEN as error:
                raise self._route.failure(error, bounds) from None
        return _judged(request, answer, bytes(body))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Route:
    """How a workspace is reached, and what is said where it is not."""

    def __init__(self, connection: Connection) -> None:
        url = httpx.URL(connection.base_url)
        self.encrypted = url.scheme == "https"
        self._seconds = connection.timeout_seconds
        self._proxy = environment_proxy(connection.base_url)
        through = f" through the proxy in {self._proxy.variable}" if self._proxy else ""
        self._where = f"{url.host}{through}"

    def pool_options(self) -> dict[str, Any]:
        certificates = _certificates() if self.encrypted else None
        proxy = self._proxy.proxy if self._proxy else None
        if proxy is not None and proxy.url.scheme == b"https":
            proxy.ssl_context = certificates
        return {
            "ssl_context": certificates,
            "proxy": proxy,
            "max_connections": MOST_CONNECTIONS,
            "keepalive_expiry": 5.0,
        }

    def bounds(self, request: httpx.Request) -> Bounds:
        return Bounds(self._seconds, is_write=_is_write(request))

    def failure(self, error: Exception, bounds: Bounds) -> NoAnswer:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if not bounds.sent:
            return ConnectionFailed(f"cannot connect to {self._where}: {what}")
        if isinstance(error, TimeoutError | httpcore.TimeoutException):
            what = "no whole answer within timeout_seconds"
        else:
            what = f"the connection broke before the answer was whole: {what}"
        return AnswerLost(what, may_have_been_applied=bounds.in_doubt)


def _certificates() -> ssl.SSLContext:
    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    variable = "SSL_CERT_FILE" if file else "SSL_CERT_DIR"
    try:
        # OpenSSL says nothing of folders that are not there: it trusts nobody then.
        if not file and folders and not any(map(os.path.isdir, folders.split(os.pathsep))):
            raise FileNotFoundError("there is no such folder")
        return _read_certificates(file, folders)
    except OSError as error:
        problem = str(error)
    raise ConnectionFailed(
        f"{variable} does not name certificates that can be read: {problem}", attempts=0
    )


@cache
def _read_certificates(file: str | None, folders: str | None) -> ssl.SSLContext:  # noqa: ARG001
    # Reading them takes tens of milliseconds and a megabyte: once, not for each event loop.
    return httpx.create_ssl_context()


def _to_send(request: httpx.Request) -> httpcore.Request:
    url = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=request.headers.raw,
        content=request.stream,
    )


def _judged(request: httpx.Request, answer: httpcore.Response, body: bytes) -> httpx.Response:
    headers = httpx.Headers(answer.headers)
    error = error_of(answer.status, headers, body, is_write=_is_write(request))
    if error is not None:
        raise error
    return httpx.Response(answer.status, headers=headers, content=body)


def _is_write(request: httpx.Request) -> bool:
    return request.method == "PATCH"
