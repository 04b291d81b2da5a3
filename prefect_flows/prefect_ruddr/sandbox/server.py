"""An ASGI application behind a real socket, in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol


class _Protocol(H11Protocol):
    """Lets the application close its connection, which ASGI has no word for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    """Stops at once, whatever is still under way: a hanging answer is never waited for."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready.set()
        ticks = 0
        while not self._stop.is_set():
            await self.on_tick(ticks)  # Sets the Date header, once in ten ticks.
            ticks += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        for listener in self.servers:
            listener.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            await asyncio.wait(self.server_state.tasks)
        for listener in self.servers:
            await listener.wait_closed()


class BackgroundServer:
    """A server in its thread: listening once constructed, wholly gone once stopped.

    Args:
        application: What answers. Its `scope["state"]["transport"]` is the connection.
        address: Host and port; port 0 for a free one.

    Attributes:
        address: Host and port it listens on.

    Raises:
        OSError: The address cannot be listened on.
    """

    def __init__(self, application: ASGIApp, address: tuple[str, int]) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        listener = socket.create_server(address, family=family)
        # Inherited by its connections. An answer is two small writes, and without this the
        # second one waits some 40 ms for the client to acknowledge the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        config = uvicorn.Config(
            application,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_keep_alive=75,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name="ruddr-sandbox", daemon=True
        )
        self._thread.start()
        self._server.ready.wait()
        if not self._server.started:
            raise RuntimeError("the server did not start")

    def stop(self) -> None:
        """Drop all connections, stop listening and end the thread."""
        self._server.stop()
        self._thread.join()

    def _run(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[listener]))
        finally:
            self._server.ready.set()
