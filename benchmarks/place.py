"""Where a benchmark takes place: a Prefect server, and a fresh sandbox for each measurement."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.postgres import postgres
from benchmarks.proxy import prefect_proxy
from benchmarks.site import ROOT, Measured, fresh_site
from prefect_ruddr.pacing.bucket import REQUESTS_PER_SECOND as RATE


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
            rate: The sandbox's limit in requests per second; None for no limit.
            delay: Seconds added to each call of Prefect's API.
            options: What else the job takes.
        """
        with (
            prefect_proxy(self._port, delay) as proxy,
            fresh_site(updates, rate, proxy, self._environment()) as site,
        ):
            # Next to each other, as the stages are that belong together.
            size = math.ceil(updates / processes)
            shares = [site.ids[first : first + size] for first in range(0, updates, size)]
            clients = [
                site.start(job, share, options, machine=number % machines)
                for number, share in enumerate(shares)
            ]
            measured = site.measure(clients)
        self._wait_for_the_recorder()
        return measured

    def measure_in_turns(
        self, jobs: Sequence[tuple[str, Mapping[str, Any]]], updates: int, turns: int
    ) -> list[tuple[Measured, ...]]:
        """Run jobs one after the other, again and again, without a limit on the server.

        So each has the machine at the same speed as the others, whatever that is.

        Args:
            jobs: The name of each job, and what else it takes; each has a process of its own.
            updates: How many stages a job changes in a turn.
            turns: How often each job is run.

        Returns:
            For each turn, what each job took.
        """
        with (
            prefect_proxy(self._port, 0.0) as proxy,
            fresh_site(updates, None, proxy, self._environment()) as site,
        ):
            clients = [site.start(job, site.ids, options) for job, options in jobs]
            return [tuple(site.measure([client]) for client in clients) for _ in range(turns)]

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


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False
