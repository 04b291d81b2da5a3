"""The vendor's bucket on loopback, and a proxy that makes Prefect's API slow.

The judge speaks lines, not HTTP: its arrival times are what matters, and it must cost little.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class Judge:
    """A server that refuses what its bucket does not allow, and counts.

    Args:
        rate: Its refill, in requests per second.
        burst: Its bucket, in requests.
        latency: The mean time on the way, in seconds: half before the judgement, half after,
            each of them up to twice as long or nothing.
    """

    def __init__(self, rate: float, burst: int, latency: float = 0.0) -> None:
        self.rate = rate
        self.burst = burst
        self.latency = latency
        self.accepted = 0
        self.refused = 0
        self.lowest = float(burst)
        self._level = float(burst)
        self._first: float | None = None
        self._as_of = 0.0

    @property
    def seconds(self) -> float:
        """The time from the first arrival to the last."""
        return self._as_of - (self._first or 0.0)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each line with `200` or `429`."""
        while await reader.readline():
            await self._travel()
            verdict = self._judge(asyncio.get_running_loop().time())
            await self._travel()
            writer.write(verdict)
        writer.close()

    async def _travel(self) -> None:
        if self.latency:
            await asyncio.sleep(random.uniform(0, self.latency))  # noqa: S311

    def _judge(self, now: float) -> bytes:
        if self._first is None:
            self._first = now
        else:
            self._level = min(self.burst, self._level + (now - self._as_of) * self.rate)
        self._as_of = now
        if self._level < 1:
            self.refused += 1
            return b"429\n"
        self._level -= 1
        self.lowest = min(self.lowest, self._level)
        self.accepted += 1
        return b"200\n"


def delayed(port: int, seconds: float) -> Handler:
    """Return what forwards a connection to the port, each request later by some seconds."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await asyncio.gather(
                _pump(reader, server_writer, seconds), _pump(server_reader, writer, 0.0)
            )
        except (asyncio.CancelledError, ConnectionError):
            pass
        finally:
            server_writer.close()
            writer.close()

    return forward


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    while chunk := await reader.read(65536):
        loop.call_later(seconds, writer.write, chunk)
    await asyncio.sleep(seconds)
    writer.close()


@contextmanager
def serving(handler: Handler) -> Iterator[int]:
    """Serve on a free port of loopback, in a thread, and yield the port."""
    ports: Queue[int] = Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        ports.put(server.sockets[0].getsockname()[1])
        await stop.wait()
        server.close()

    thread = threading.Thread(target=_run, args=(loop, serve()), daemon=True)
    thread.start()
    try:
        yield ports.get(timeout=10)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main)


def unavailable_at_first(port: int, answers: int) -> Handler:
    """Return what forwards connections to the port, after the first few were answered 503."""
    forward = delayed(port, 0.0)
    left = answers

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        if not left:
            await forward(reader, writer)
            return
        left -= 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    return answer


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read and never answer, until the other side gives up."""
    try:
        await reader.read(-1)
    except asyncio.CancelledError:
        pass
    finally:
        writer.close()
