"""Processes that share a limit, judged at the arrival of their requests by the vendor's bucket."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from prefect_ruddr.pacing.prefect_limit import ensure_global_concurrency_limit

from .judge import Judge, delayed, serving

RATE, BURST = 20, 60
LATENCY = 0.05


def run_processes(
    judge: Judge,
    *,
    requests: int,
    processes: int = 1,
    limit: str | None = None,
    api_delay: float = 0.0,
) -> None:
    """Send the requests from some processes of 16 threads."""
    with ExitStack() as servers:
        environment = dict(os.environ)
        if limit is not None:
            environment["PREFECT_API_URL"] = PREFECT_API_URL.value()
        if api_delay:
            api_port = int(PREFECT_API_URL.value().split(":")[-1].split("/")[0])
            port = servers.enter_context(serving(delayed(api_port, api_delay)))
            environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        judge_port = servers.enter_context(serving(judge.answer))
        numbers = [judge_port, requests // processes, 16, RATE, BURST]
        workers = [
            servers.enter_context(
                subprocess.Popen(
                    [
                        sys.executable,
                        Path(__file__).with_name("worker.py"),
                        *map(str, numbers),
                        *([limit] if limit else []),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )
            for _ in range(processes)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        assert [worker.stdout.readline() for worker in workers if worker.stdout] == (
            ["done\n"] * processes
        )


@pytest.fixture
def limit(prefect_api: None) -> str:
    name = f"ruddr-{uuid.uuid4()}"
    ensure_global_concurrency_limit(name, RATE, BURST)
    return name


def test_processes_on_one_limit_are_never_refused(limit: str) -> None:
    """Together they send what one may; each with a budget of its own, they send twice the burst."""
    judge = Judge(RATE, BURST, LATENCY)

    run_processes(judge, requests=100, processes=2, limit=limit, api_delay=0.03)

    assert (judge.accepted, judge.refused) == (100, 0)


@pytest.mark.long
@pytest.mark.parametrize(
    ("processes", "shared", "api_delay", "bar"),
    [
        pytest.param(1, False, 0.0, 1.03, id="one process, its own budget"),
        pytest.param(1, True, 0.0, 1.06, id="one process, the shared budget"),
        pytest.param(4, True, 0.0, 1.08, id="four processes"),
        pytest.param(4, True, 0.03, 1.08, id="four processes, 30 ms more at each API call"),
    ],
)
def test_500_requests_take_little_more_than_the_ideal_time(
    limit: str, processes: int, shared: bool, api_delay: float, bar: float
) -> None:
    """Ideal are (500 - 60) / 20 s from the first arrival to the last, and none is refused."""
    judge = Judge(RATE, BURST, LATENCY)

    run_processes(
        judge,
        requests=500,
        processes=processes,
        limit=limit if shared else None,
        api_delay=api_delay,
    )

    assert (judge.accepted, judge.refused) == (500, 0)
    assert judge.seconds / ((500 - BURST) / RATE) <= bar
