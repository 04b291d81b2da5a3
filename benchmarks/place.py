"""Where a benchmark takes place: a sandbox Ruddr, a Prefect server, and clients to be measured.

Each client is a process of its own, so that its time, CPU and memory are its own too.
"""

from __future__ import annotations

import json
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.postgres import postgres
from benchmarks.proxy import prefect_proxy
from prefect_ruddr.pacing.bucket import REQUESTS_PER_SECOND as RATE
from prefect_ruddr.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
API_KEY = "benchmark-key"
UNLIMITED: Mapping[str, Any] = {"requests_per_second": 1000.0, "burst": 10_000}
"""A budget that never keeps anybody waiting."""


@dataclass(frozen=True)
class Measured:
    """What one client took, or several that shared the work.

    Attributes:
        seconds: From the start of the flow function, or of a job that is no flow, to the last
            PATCH, as the sandbox saw it.
        start_seconds: From the call of the flow to the start of its function: Prefect's own work.
        whole_seconds: From the start of the job to its return.
        cpu_seconds: User and system time of the job, in the client's process.
        peak_megabytes: The largest resident memory of the process.
        requests: How many requests were sent and not refused.
        refused: How many requests were answered with 429.
        reads: How many GETs were sent.
        patches: How many PATCHes were sent and not refused.
        prefect_calls: How many requests the client sent to Prefect's API.
        load: The processes that ran or wanted to, on average over the last minute.
    """

    seconds: float
    start_seconds: float
    whole_seconds: float
    cpu_seconds: float
    peak_megabytes: float
    requests: int
    refused: int
    reads: int
    patches: int
    prefect_calls: int
    load: float


class Place:
    """A running Prefect server, and a fresh sandbox for each measurement.

    Args:
        home: A folder for what Prefect keeps.
        database_url: Where Prefect's server keeps its records; None for SQLite in that folder.
    """

    def __init__(self, home: Path, database_url: str | None) -> None:
        self._home = home
        self._database_url = database_url
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
            # Once unmeasured, so that all is compiled, and the server has done the like before.
            self.measure("flow_of_ours", 10, limit="warm-up")
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
        machines: int = 1,
        stages: int | None = None,
        rate: float | None = RATE,
        delay: float = 0.0,
        **options: Any,
    ) -> Measured:
        """Run a job of `benchmarks.jobs` in client processes, and measure it.

        Args:
            job: The name of the job.
            updates: How many stages it is to change, over all processes.
            processes: How many client processes share the work.
            machines: On how many machines they are: those of one do not see the others' files.
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
            tempfile.TemporaryDirectory() as budgets,
        ):
            ids = [str(stage["id"]) for stage in sandbox.stages][:updates]
            # Next to each other, as the stages are that belong together.
            size = math.ceil(updates / processes)
            shares = [ids[first : first + size] for first in range(0, updates, size)]
            clients = []
            for number, share in enumerate(shares):
                environment = {
                    "PREFECT_API_URL": proxy.url,
                    "RUDDR_STATE_FOLDER": f"{budgets}/{number % machines}",
                }
                asked = {"job": job, "ids": share, "base_url": sandbox.base_url}
                clients.append(self._start(asked | {"options": options}, environment))
            for client in clients:
                _expect(client, "ready")
            calls_before = proxy.calls
            began = time.monotonic()
            for client in clients:
                _tell(client)
            results = [_result(client) for client in clients]
            seen = list(sandbox.requests)
        self._wait_for_the_recorder()
        sent = [r for r in seen if r.status == 200 and r.arrived >= began]
        done = [r for r in sent if r.method == "PATCH"]
        function_began = min(result["function_began"] for result in results)
        return Measured(
            seconds=max((r.arrived for r in done), default=function_began) - function_began,
            start_seconds=function_began - began,
            whole_seconds=max(result["seconds"] for result in results),
            cpu_seconds=sum(result["cpu"] for result in results),
            peak_megabytes=max(result["peak"] for result in results),
            requests=len(sent),
            refused=sum(r.status == 429 for r in seen),
            reads=len(sent) - len(done),
            patches=len(done),
            prefect_calls=proxy.calls - calls_before,
            load=os.getloadavg()[0],
        )

    def run(self, command: Sequence[str]) -> float:
        """Run a command, and return how many seconds it took."""
        began = time.perf_counter()
        subprocess.run(command, cwd=ROOT, env=self._environment(), check=True, capture_output=True)
        return time.perf_counter() - began

    def _wait_for_the_recorder(self) -> None:
        """Wait until the server has recorded all task runs, some of which it does later."""
        recorded, before = self._completed_task_runs(), -1
        while recorded != before:
            time.sleep(2)
            recorded, before = self._completed_task_runs(), recorded

    def _completed_task_runs(self) -> int:
        completed = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        answer = httpx.post(f"{self.api_url}/task_runs/count", json=completed, timeout=120)
        return int(answer.raise_for_status().text)

    def _start(self, asked: dict[str, Any], environment: dict[str, str]) -> subprocess.Popen[str]:
        client = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.client"],
            cwd=ROOT,
            env=self._environment() | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL,
            text=True,
        )
        _tell(client, asked)
        return client

    def _environment(self) -> dict[str, str]:
        environment = os.environ | {
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(self._home),
            "PREFECT_LOGGING_LEVEL": "WARNING",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        }
        if self._database_url:
            environment["PREFECT_API_DATABASE_CONNECTION_URL"] = self._database_url
        # Compiled once, as in an installation, whatever the environment here says.
        environment["PYTHONPYCACHEPREFIX"] = str(self._home / "bytecode")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        return environment


@contextmanager
def place(database: str) -> Iterator[Place]:
    """Open a place in a temporary folder.

    Args:
        database: What Prefect's server keeps its records in: "sqlite" or "postgresql".
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(postgres(_free_port())) if database == "postgresql" else None
        yield stack.enter_context(Place(home, url).open())


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
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
