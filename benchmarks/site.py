"""A sandbox Ruddr, and the clients that are measured there.

Each client is a process of its own, so that its time, CPU and memory are its own too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.proxy import PrefectProxy
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


class Site:
    """A fresh sandbox, a way to Prefect's server, and the clients that are sent there.

    Args:
        sandbox: Their Ruddr.
        proxy: Their way to Prefect's API.
        budgets: A folder for the files of their request budgets.
        environment: Their environment.
        clients: Ends them.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        proxy: PrefectProxy,
        budgets: Path,
        environment: Mapping[str, str],
        clients: ExitStack,
    ) -> None:
        self._sandbox = sandbox
        self._proxy = proxy
        self._budgets = budgets
        self._environment = environment
        self._clients = clients
        self.ids = [str(stage["id"]) for stage in sandbox.stages]

    def start(
        self, job: str, ids: Sequence[str], options: Mapping[str, Any], machine: int = 0
    ) -> subprocess.Popen[str]:
        """Start a client for a job."""
        client = self._clients.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.client"],
                cwd=ROOT,
                env={
                    **self._environment,
                    "PREFECT_API_URL": self._proxy.url,
                    "RUDDR_STATE_FOLDER": str(self._budgets / str(machine)),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL,
                text=True,
            )
        )
        asked = {"job": job, "ids": ids, "base_url": self._sandbox.base_url}
        _tell(client, asked | {"options": dict(options)})
        return client

    def measure(self, clients: Sequence[subprocess.Popen[str]]) -> Measured:
        """Let clients do their jobs, all at once, when all are ready."""
        for client in clients:
            _expect(client, "ready")
        calls_before = self._proxy.calls
        self._sandbox.clear_requests()
        began = time.monotonic()
        for client in clients:
            _tell(client)
        results = [json.loads(_expect(client, "result")) for client in clients]
        seen = list(self._sandbox.requests)
        sent = [request for request in seen if request.status == 200]
        done = [request for request in sent if request.method == "PATCH"]
        function_began = min(result["function_began"] for result in results)
        return Measured(
            seconds=max((r.arrived for r in done), default=function_began) - function_began,
            start_seconds=function_began - began,
            whole_seconds=max(result["seconds"] for result in results),
            cpu_seconds=sum(result["cpu"] for result in results),
            peak_megabytes=max(result["peak"] for result in results),
            requests=len(sent),
            refused=sum(request.status == 429 for request in seen),
            reads=len(sent) - len(done),
            patches=len(done),
            prefect_calls=self._proxy.calls - calls_before,
            load=os.getloadavg()[0],
        )


@contextmanager
def fresh_site(
    stages: int, rate: float | None, proxy: PrefectProxy, environment: Mapping[str, str]
) -> Iterator[Site]:
    """Open a site with a fresh sandbox, and end its clients afterwards.

    Args:
        stages: How many stages the workspace has.
        rate: The sandbox's limit in requests per second; None for no limit.
        proxy: The clients' way to Prefect's API.
        environment: The clients' environment.
    """
    with (
        Sandbox(api_key=API_KEY, stages=stages, rate=rate, record=4 * stages + 1000) as sandbox,
        tempfile.TemporaryDirectory() as budgets,
        ExitStack() as clients,
    ):
        yield Site(sandbox, proxy, Path(budgets), environment, clients)


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
