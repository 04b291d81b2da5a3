"""Connections that keep to the bounds of the attempt they are used by.

httpx begins its timeouts anew with every read, so a server that sends a byte now and then holds a
request for as long as it likes. Here each read, write and connect gets the time that is left of
the whole attempt, and all that arrives is counted.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

from prefect_ruddr.api.bounds import bounds_in_force


class Network(httpcore.NetworkBackend):
    """Makes connections for threads.

    Args:
        encrypted: Whether Ruddr is spoken to in TLS, so that what is sent before that, as to a
            proxy, cannot reach it.
    """

    def __init__(self, *, encrypted: bool) -> None:
        self._encrypted = encrypted
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  # the bounds know
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of a host that can be reached.

        Left to itself, the standard library gives each address of a host the whole time.
        """
        addresses = _addresses(host, port)
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for number, address in enumerate(addresses):
            share = bounds_in_force().seconds_left() / (len(addresses) - number)
            try:
                stream = self._backend.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, reaches_ruddr=not self._encrypted)
        raise failure


def _addresses(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from None
    return [str(address[0]) for *_, address in found]


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, *, reaches_ruddr: bool) -> None:
        self._stream = stream
        self._reaches_ruddr = reaches_ruddr

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        bounds = bounds_in_force()
        data = self._stream.read(max_bytes, bounds.seconds_left())
        bounds.count_wire(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        bounds = bounds_in_force()
        bounds.sent |= self._reaches_ruddr
        self._stream.write(buffer, bounds.seconds_left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(
            ssl_context, server_hostname, bounds_in_force().seconds_left()
        )
        return _Stream(stream, reaches_ruddr=True)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncNetwork(httpcore.AsyncNetworkBackend):
    """Async version of `Network`.

    Args:
        encrypted: Whether Ruddr is spoken to in TLS.
    """

    def __init__(self, *, encrypted: bool) -> None:
        self._encrypted = encrypted
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109  # httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of a host that can be reached."""
        stream = await self._backend.connect_tcp(
            host, port, bounds_in_force().seconds_left(), local_address, socket_options
        )
        return _AsyncStream(stream, reaches_ruddr=not self._encrypted)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream, *, reaches_ruddr: bool) -> None:
        self._stream = stream
        self._reaches_ruddr = reaches_ruddr

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        bounds = bounds_in_force()
        data = await self._stream.read(max_bytes, bounds.seconds_left())
        bounds.count_wire(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        bounds = bounds_in_force()
        bounds.sent |= self._reaches_ruddr
        await self._stream.write(buffer, bounds.seconds_left())

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._stream.start_tls(
            ssl_context, server_hostname, bounds_in_force().seconds_left()
        )
        return _AsyncStream(stream, reaches_ruddr=True)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
