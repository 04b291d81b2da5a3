"""Where a benchmark takes place: a sandbox Ruddr, a Prefect server, and clients to be measured.

Each client is a process of its own, so that its time, CPU and memory are its own too.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from prefect_ruddr.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
API_KEY = "benchmark-key"


@dataclass(frozen=True)
class Measured:
    """What one client took.

    Attributes:
        seconds: From the start of the job to its last PATCH, as the sandbox saw it.
        whole_seconds: From the start of the job to its return.
        cpu_seconds: User and system time of the job, in the client's process.
        peak_megabytes: The largest resident memory of the process.
        refused: How many requests were answered with 429.
        reads: How many GETs were sent.
        patches: How many PATCHes were sent and not refused.
        prefect_calls: How many requests the client sent to Prefect's API.
    """

    seconds: float
    whole_seconds: float
    cpu_seconds: float
    peak_megabytes: float
    refused: int
    reads: int
    patches: int
    prefect_calls: int


class Place:
    """A running Prefect server, and a fresh sandbox for each measurement.

    Args:
        home: A folder for what Prefect keeps.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._port = _free_port()
        self.api_url = f"http://127.0.0.1:{self._port}/api"

    @contextmanager
    def open(self) -> Iterator[Place]:
        """Start the Prefect server, and end it afterwards."""
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(self._port)]
        with (self._home / "server.log").open("w") as log:
            server = subprocess.Popen(
                command, env=self._environment(), stdout=log, stderr=subprocess.STDOUT
            )
        try:
            while not _answers(f"{self.api_url}/health"):
                if server.poll() is not None:
                    raise RuntimeError((self._home / "server.log").read_text())
                time.sleep(0.2)
            yield self
        finally:
            server.terminate()
            server.wait(timeout=60)

    def measure(
        self,
        job: str,
        updates: int,
        *,
        processes: int = 1,
        stages: int | None = None,
        rate: float | None = 20.0,
        delay: float = 0.0,
        **options: Any,
    ) -> Measured:
        """Run a job of `benchmarks.jobs` in client processes, and measure it.

        Args:
            job: The name of the job.
            updates: How many stages it is to change, over all processes.
            processes: How many client processes share the work.
            stages: How many stages the workspace has; as many as updates where None.
            rate: The sandbox's limit in requests per second; None for no limit.
            delay: Seconds added to each call of Prefect's API.
            options: What else the job takes.
        """
        with (
            Sandbox(
                api_key=API_KEY, stages=stages or updates, rate=rate, record=4 * updates + 1000
            ) as sandbox,
            prefect_proxy(self._port, delay) as proxy,
        ):
            ids = [str(stage["id"]) for stage in sandbox.stages][:updates]
            shares = [ids[number::processes] for number in range(processes)]
            clients = [
                self._start(job, share, sandbox.base_url, proxy.url, options) for share in shares
            ]
            for client in clients:
                _expect(client, "ready")
            calls_before = proxy.calls
            began = time.monotonic()
            for client in clients:
                _tell(client)
            results = [_result(client) for client in clients]
            seen = list(sandbox.requests)
        done = [r for r in seen if r.method == "PATCH" and r.status == 200 and r.arrived >= began]
        return Measured(
            seconds=max((r.arrived for r in done), default=began) - began,
            whole_seconds=max(result["seconds"] for result in results),
            cpu_seconds=sum(result["cpu"] for result in results),
            peak_megabytes=max(result["peak"] for result in results),
            refused=sum(r.status == 429 for r in seen),
            reads=sum(r.method == "GET" and r.arrived >= began for r in seen),
            patches=len(done),
            prefect_calls=proxy.calls - calls_before,
        )

    def run(self, command: Sequence[str]) -> float:
        """Run a command, and return how many seconds it took."""
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=self._environment(), check=True, capture_output=True)
        return time.perf_counter() - began

    def _start(
        self, job: str, ids: list[str], base_url: str, api_url: str, options: dict[str, Any]
    ) -> subprocess.Popen[str]:
        client = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.client"],
            cwd=ROOT,
            env=self._environment() | {"PREFECT_API_URL": api_url},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL,
            text=True,
        )
        _tell(client, {"job": job, "ids": ids, "base_url": base_url, "options": options})
        return client

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(self._home),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        }


@contextmanager
def place() -> Iterator[Place]:
    """Open a place in a temporary folder."""
    with tempfile.TemporaryDirectory() as home, Place(Path(home)).open() as opened:
        yield opened


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
        except OSError:
            pass
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


def _tell(client: subprocess.Popen[str], message: object = None) -> None:
    assert client.stdin is not None
    client.stdin.write(json.dumps(message) + "\n")
    client.stdin.flush()


def _expect(client: subprocess.Popen[str], word: str) -> str:
    """Read the client's output up to a line that starts with a word."""
    assert client.stdout is not None
    for line in client.stdout:
        if line.startswith(f"{word} "):
            return line.removeprefix(f"{word} ")
    raise RuntimeError(f"a client ended with {client.wait()}; BENCH_DEBUG=1 shows why")


def _result(client: subprocess.Popen[str]) -> dict[str, float]:
    result: dict[str, float] = json.loads(_expect(client, "result"))
    client.communicate()
    return result


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # our own server
            return bool(response.status == 200)
    except (URLError, OSError):
        return False
