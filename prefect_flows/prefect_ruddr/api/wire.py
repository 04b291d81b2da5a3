"""One request over the wire: the only module that names httpx.

The clients here send the key, keep a deadline, bound what they read, and raise a typed error
for every answer but a 200, before the generated client tries to parse it.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Generator
from functools import cache
from typing import Any

import httpx
from pydantic import SecretStr

from prefect_ruddr import __version__
from prefect_ruddr.api.answers import error_of
from prefect_ruddr.api.connection import MOST_CONNECTIONS, Connection
from prefect_ruddr.errors import (
    AnswerLost,
    ConnectionFailed,
    RuddrRequestError,
    UnexpectedResponse,
)

LARGEST_ANSWER = 10 * 2**20
"""Bytes; a longer answer is not read to its end."""


def sync_client(connection: Connection) -> httpx.Client:
    """Return a client for threads; it may be shared by any number of them."""
    return _Client(connection)


def async_client(connection: Connection) -> httpx.AsyncClient:
    """Return a client for the event loop that is running, and for no other."""
    return _AsyncClient(connection)


def _options(connection: Connection) -> dict[str, Any]:
    return {
        "base_url": connection.root_url,
        "auth": _BearerAuth(connection.api_key),
        "headers": {
            "Accept": "application/json",
            "User-Agent": f"prefect-ruddr/{__version__}",
        },
        "verify": _certificates(),
        "timeout": connection.timeout_seconds,
        "limits": httpx.Limits(
            max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS
        ),
    }


@cache
def _certificates() -> ssl.SSLContext:
    # Reading them takes tens of milliseconds and a megabyte: once, not for each event loop.
    return httpx.create_ssl_context()


class _BearerAuth(httpx.Auth):
    def __init__(self, api_key: SecretStr) -> None:
        self._api_key = api_key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._api_key.get_secret_value()}"
        yield request


class _NoCookies(httpx.Cookies):
    """Keeps no cookie, so that none is sent: a request does not depend on earlier answers.

    Looking for cookies in an answer also takes httpx a seventh of the time of a request.
    """

    def extract_cookies(self, response: httpx.Response) -> None:
        """Pass the answer by."""


class _Client(httpx.Client):
    cookies: Any = _NoCookies()  # Any: httpx takes more types than it gives

    def __init__(self, connection: Connection) -> None:
        super().__init__(**_options(connection))
        self._root_url = str(self.base_url).rstrip("/")

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        # httpx would parse a relative address, and then the whole one.
        return super().build_request(method, f"{self._root_url}{url}", **options)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        # httpx's timeout is for each read; a body that drips would outlast it.
        deadline = time.monotonic() + (self.timeout.read or 0)
        failure: RuddrRequestError
        try:
            response = super().send(request, **options | {"stream": True})
            try:
                body = _Body(request)
                for chunk in response.iter_bytes():
                    body.add(chunk, late=time.monotonic() > deadline)
            finally:
                response.close()
            return _judged(response, body)
        except httpx.HTTPError as error:
            failure = _no_answer(error, request)
        except httpx.InvalidURL as error:
            failure = ConnectionFailed(str(error))
        # Outside the handler, so that no httpx error, which holds the request and with it the
        # key, hangs on to ours.
        raise failure


class _AsyncClient(httpx.AsyncClient):
    cookies: Any = _NoCookies()  # Any: httpx takes more types than it gives

    def __init__(self, connection: Connection) -> None:
        super().__init__(**_options(connection))
        self._root_url = str(self.base_url).rstrip("/")
        self._seconds = connection.timeout_seconds

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        return super().build_request(method, f"{self._root_url}{url}", **options)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        failure: RuddrRequestError
        try:
            async with asyncio.timeout(self._seconds):
                response = await super().send(request, **options | {"stream": True})
                try:
                    body = _Body(request)
                    async for chunk in response.aiter_bytes():
                        body.add(chunk, late=False)
                finally:
                    await response.aclose()
            return _judged(response, body)
        except httpx.HTTPError as error:
            failure = _no_answer(error, request)
        except httpx.InvalidURL as error:
            failure = ConnectionFailed(str(error))
        except TimeoutError:
            failure = _too_late(request)
        raise failure


class _Body:
    """What has been read of an answer so far."""

    def __init__(self, request: httpx.Request) -> None:
        self.content = bytearray()
        self._request = request

    def add(self, chunk: bytes, *, late: bool) -> None:
        self.content += chunk
        if late:
            raise _too_late(self._request)
        if len(self.content) > LARGEST_ANSWER:
            raise UnexpectedResponse(
                f"the answer is longer than {LARGEST_ANSWER // 2**20} MiB",
                may_have_been_applied=_is_write(self._request),
            )


class _WholeResponse(httpx.Response):
    """A response whose body has been read.

    Given the content, `httpx.Response` would send it through its decoders and chunkers once
    more, which takes a tenth of the time of a whole request.
    """

    def __init__(self, status_code: int, content: bytes, request: httpx.Request) -> None:
        super().__init__(status_code, stream=httpx.ByteStream(content), request=request)
        self._whole = content

    @property
    def content(self) -> bytes:
        return self._whole


def _judged(response: httpx.Response, body: _Body) -> httpx.Response:
    content = bytes(body.content)
    error = error_of(
        response.status_code, response.headers, content, is_write=_is_write(response.request)
    )
    if error is not None:
        raise error
    return _WholeResponse(response.status_code, content, response.request)


def _no_answer(error: httpx.HTTPError, request: httpx.Request) -> RuddrRequestError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return ConnectionFailed(f"cannot connect to {request.url.host}: {what}")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError | httpx.ProxyError):
        return ConnectionFailed(what)
    if isinstance(error, httpx.TimeoutException):
        return _too_late(request)
    return AnswerLost(
        f"the connection broke before the answer was whole: {what}",
        may_have_been_applied=_is_write(request),
    )


def _too_late(request: httpx.Request) -> AnswerLost:
    return AnswerLost(
        "no whole answer within timeout_seconds", may_have_been_applied=_is_write(request)
    )


def _is_write(request: httpx.Request) -> bool:
    return request.method == "PATCH"
