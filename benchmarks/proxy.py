"""A proxy before Prefect's API, which counts the requests to it and may delay them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PrefectProxy:
    """Counts, and may delay, the requests to Prefect's API that pass through it."""

    def __init__(self, port: int, delay: float) -> None:
        self.calls = 0
        self.url = ""
        self._port = port
        self._delay = delay

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        """Listen on a free port of loopback until stopped."""
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        ready.set()
        await stop.wait()
        server.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await asyncio.gather(
                self._pump(reader, server_writer, counted=True),
                self._pump(server_reader, writer, counted=False),
            )
        except (OSError, asyncio.CancelledError):
            pass  # one side is gone, or the measurement is over
        finally:
            writer.close()
            server_writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        while data := await reader.read(65536):
            # A request line starts a packet here: nobody pipelines over HTTP/1.1.
            if counted and data.split(b" ", 1)[0] in _METHODS:
                self.calls += 1
                await asyncio.sleep(self._delay)
            writer.write(data)
            await writer.drain()
        writer.close()


_METHODS = {b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"}


@contextmanager
def prefect_proxy(port: int, delay: float) -> Iterator[PrefectProxy]:
    """Run a proxy before Prefect's API, in a thread."""
    proxy = PrefectProxy(port, delay)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ready = threading.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(proxy.serve(ready, stop),))
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
