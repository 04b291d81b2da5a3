"""Processes of one machine, judged at the arrival of their requests by Ruddr's bucket."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from prefect_ruddr.machine import FOLDER_VARIABLE
from prefect_ruddr.pacing.bucket import Bucket
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.pacing.prefect_limit import ensure_global_concurrency_limit

from .judge import Judge, delayed, serving

pytestmark = pytest.mark.slow

RATE, BURST = 20, 60
LATENCY = 0.05


@contextmanager
def processes(
    port: int, folders: list[Path], *, requests: int, limit: str | None = None, api: str = ""
) -> Iterator[list[subprocess.Popen[str]]]:
    """Run a process of 16 threads for each folder, which stands for a machine, until all end."""
    started = []
    for folder in folders:
        environment = os.environ | {FOLDER_VARIABLE: str(folder), "PREFECT_API_URL": api}
        numbers = (port, requests // len(folders), 16, RATE, BURST)
        worker = str(Path(__file__).with_name("worker.py"))
        command = [sys.executable, worker, *map(str, numbers), *([limit] if limit else [])]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(process)
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield started
        assert [process.wait(120) for process in started] == [0] * len(started)
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.fixture
def limit(prefect_api: None) -> str:
    name = f"ruddr-{uuid.uuid4()}"
    ensure_global_concurrency_limit(name, Bucket(RATE, BURST))
    return name


def test_processes_of_a_machine_are_never_refused(tmp_path: Path) -> None:
    """With nothing configured. Each with a budget of its own, they would send twice the burst."""
    judge = Judge(RATE, BURST, LATENCY)

    with serving(judge.answer) as port, processes(port, [tmp_path / "budgets"] * 2, requests=100):
        pass

    assert (judge.accepted, judge.refused) == (100, 0)


@pytest.mark.long
def test_machines_on_one_limit_are_never_refused(limit: str, tmp_path: Path) -> None:
    """Two that do not see each other's file."""
    judge = Judge(RATE, BURST, LATENCY)
    api_port = int(PREFECT_API_URL.value().split(":")[-1].split("/")[0])
    machines = [tmp_path / "one", tmp_path / "other"]

    with serving(judge.answer) as port, serving(delayed(api_port, 0.03)) as api:
        url = f"http://127.0.0.1:{api}/api"
        with processes(port, machines, requests=100, limit=limit, api=url):
            pass

    assert (judge.accepted, judge.refused) == (100, 0)


def test_a_process_that_is_killed_takes_no_more_than_its_places(tmp_path: Path) -> None:
    """There is nothing to clean up after it, and nobody waits for it."""
    bucket, file = Bucket(RATE, BURST), tmp_path / "budgets" / "one"
    child = os.fork()
    if child == 0:
        budget = RequestBudget(bucket, file)
        threads = [
            threading.Thread(target=budget.request().__enter__, daemon=True)
            for _ in range(int(bucket.size) + 50)
        ]
        for thread in threads:
            thread.start()
        threading.Event().wait()
    others = RequestBudget(bucket, file)
    while others._change(lambda state, _: (state, state.places)) < bucket.size + 50:
        pass

    os.kill(child, 9)
    os.waitpid(child, 0)
    state = others._change(lambda state, _: (state, state))
    place = others._change(bucket.reserve)

    # More than there are threads, where one was too late for its place and reserved again.
    assert place.number == state.places + 1 > bucket.size + 50
    assert place.at <= state.full_at - (bucket.size - 1) * bucket.interval + 1e-6


def test_a_429_slows_down_every_process(tmp_path: Path) -> None:
    """Also those who wait in another process already."""
    bucket, file = Bucket(RATE, 1), tmp_path / "budgets" / "one"
    here, there = RequestBudget(bucket, file), RequestBudget(bucket, file)
    with here.request():
        pass
    place, wait = there._look()
    assert 0 < wait <= bucket.interval

    child = os.fork()
    if child == 0:
        RequestBudget(bucket, file).slow_down(10)
        os._exit(0)
    os.waitpid(child, 0)

    same, wait = there._look(place)
    assert same is place
    assert 9 < wait <= 10 + bucket.interval
    assert here._look()[1] > wait


@pytest.mark.long
@pytest.mark.parametrize("machines", [["one"], ["one"] * 4], ids=["one process", "four processes"])
def test_500_requests_take_little_more_than_the_ideal_time(
    machines: list[str], tmp_path: Path
) -> None:
    """Ideal are (500 - 60) / 20 s from the first arrival to the last, and none is refused."""
    judge = Judge(RATE, BURST, LATENCY)

    with (
        serving(judge.answer) as port,
        processes(port, [tmp_path / name for name in machines], requests=500),
    ):
        pass

    assert (judge.accepted, judge.refused) == (500, 0)
    assert judge.seconds / ((500 - BURST) / RATE) <= 1.03


@pytest.mark.long
def test_machines_that_share_a_limit_take_little_more_than_the_ideal_time(
    limit: str, tmp_path: Path
) -> None:
    """Two processes on each of two; Prefect is on SQLite here, with nothing else to record."""
    judge = Judge(RATE, BURST, LATENCY)
    machines = [tmp_path / "one", tmp_path / "other"] * 2

    with (
        serving(judge.answer) as port,
        processes(port, machines, requests=500, limit=limit, api=PREFECT_API_URL.value()),
    ):
        pass

    assert (judge.accepted, judge.refused) == (500, 0)
    assert judge.seconds / ((500 - BURST) / RATE) <= 1.08
