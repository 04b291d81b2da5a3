"""One budget for several machines: leased from Prefect, and what happens when that fails."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.machine import machine_time
from prefect_ruddr.pacing import budget as budget_module
from prefect_ruddr.pacing import prefect_limit
from prefect_ruddr.pacing.bucket import Bucket
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.pacing.keeping import Now
from prefect_ruddr.pacing.prefect_limit import PrefectLimit, ensure_global_concurrency_limit

from .judge import delayed, serving, silent, unavailable_at_first

pytestmark = pytest.mark.usefixtures("prefect_api")

SLOW = Bucket(0.1, 1000, shared=True)
"""So slow that what a test has used is still to be seen when it looks."""

QUICK = Bucket(20.0, 60, shared=True)


class Machine:
    """Makes budgets of one machine, and remembers what they leased and warned of."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.leases: list[int] = []
        self.warnings: list[str] = []
        self._folder = folder
        self._closing = closing

    def process(self, name: str, bucket: Bucket = SLOW, now: Now = machine_time) -> RequestBudget:
        """Return the budget of one process."""
        limit = PrefectLimit(name, bucket, now)
        self._closing.callback(limit.close)

        def lease(wanted: int) -> tuple[int, float, float]:
            leased = limit.lease(wanted)
            self.leases.append(leased[0])
            return leased

        return RequestBudget(bucket, self._folder / name, lease, now=now, warn=self.warnings.append)


@pytest.fixture
def standing() -> Now:
    """A clock that stands still: no turn is lost because Prefect answers late on a busy machine."""
    at = machine_time()
    return lambda: at


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with ExitStack() as closing:
        yield Machine(tmp_path / "budgets", closing)


def named(bucket: Bucket) -> str:
    name = f"ruddr-{uuid.uuid4()}"
    ensure_global_concurrency_limit(name, bucket)
    return name


def request(budget: RequestBudget) -> None:
    with budget.request():
        pass


def request_from_event_loop(budget: RequestBudget) -> None:
    async def one_request() -> None:
        async with budget.arequest():
            pass

    asyncio.run(one_request())


both_colours = pytest.mark.parametrize(
    "send", [request, request_from_event_loop], ids=["sync", "async"]
)


def send_at_once(budgets: list[RequestBudget]) -> None:
    with ThreadPoolExecutor(len(budgets)) as threads:
        sent = [threads.submit(copy_context().run, request, budget) for budget in budgets]
        for future in sent:
            future.result()


def used(name: str) -> float:
    """Return the requests that the limit has given, less what has refilled since."""
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name).active_slots / 100


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port


def api_port() -> int:
    return int(PREFECT_API_URL.value().split(":")[-1].split("/")[0])


@both_colours
def test_a_request_is_drawn_from_the_limit(
    send: Callable[[RequestBudget], None], machine: Machine, standing: Now
) -> None:
    """Whoever else uses it finds less."""
    name = named(SLOW)

    send(machine.process(name, now=standing))

    assert machine.leases == [1]
    assert 0 < used(name) <= 1


def test_all_processes_of_a_machine_share_a_lease(machine: Machine, standing: Now) -> None:
    """Forty callers in four processes take a few calls of Prefect's API, not forty."""
    name = named(QUICK)

    send_at_once([machine.process(name, QUICK, standing) for _ in range(4)] * 10)

    assert sum(machine.leases) >= 40
    assert len(machine.leases) <= 13


def test_a_few_turns_are_leased_ahead(machine: Machine, standing: Now) -> None:
    """So a caller with one request after the other does not wait for Prefect at each."""
    name = named(QUICK)
    budget = machine.process(name, QUICK, standing)

    request(budget)
    request(budget)

    assert machine.leases == [1 + round(QUICK.requests_per_second / 4)]


@both_colours
def test_a_missing_limit_fails_the_call(
    send: Callable[[RequestBudget], None], machine: Machine
) -> None:
    """The message says how to create it; once created, the same budget goes on."""
    name = f"ruddr-{uuid.uuid4()}"
    budget = machine.process(name)

    with pytest.raises(GlobalConcurrencyLimitError, match=rf"'{name}' does not exist: create"):
        send(budget)
    ensure_global_concurrency_limit(name, SLOW)
    send(budget)

    assert used(name) > 0


def test_a_limit_that_does_not_fit_fails_the_call(machine: Machine) -> None:
    """Nothing is sent on a limit that means something else."""
    name = f"ruddr-{uuid.uuid4()}"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=60))

    with pytest.raises(GlobalConcurrencyLimitError, match="does not fit"):
        request(machine.process(name))


def test_a_limit_of_whole_requests_serves_as_well(machine: Machine) -> None:
    """As somebody creates it who reads the vendor's limits."""
    name = f"ruddr-{uuid.uuid4()}"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=name, limit=1000, slot_decay_per_second=0.1)
        )

    send_at_once([machine.process(name)] * 3)

    assert sum(machine.leases) - 1 <= used(name) * 100 <= sum(machine.leases)


def test_without_prefects_api_the_machine_paces_itself(machine: Machine) -> None:
    """The run goes on, with one warning."""
    name = named(SLOW)
    budget = machine.process(name)

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{closed_port()}/api"}):
        for _ in range(3):
            request(budget)

    assert len(machine.warnings) == 1
    assert "cannot be used, so this machine paces itself alone" in machine.warnings[0]


def test_an_api_that_does_not_answer_holds_up_nobody_for_long(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's own client would try for more than a minute."""
    monkeypatch.setattr(prefect_limit, "ANSWER_SECONDS", 0.2)

    with (
        serving(silent) as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
    ):
        request(machine.process("any limit"))

    assert machine.leases == []
    assert "ReadTimeout: timed out" in machine.warnings[0]


def test_the_limit_is_used_again_when_the_api_is_back(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while without it."""
    monkeypatch.setattr(budget_module, "RETRY_SECONDS", 0.1)
    name = named(SLOW)
    budget = machine.process(name)
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{closed_port()}/api"}):
        request(budget)
    assert used(name) == 0

    while not used(name):
        request(budget)


def test_a_busy_api_gets_a_second_chance(machine: Machine) -> None:
    """Prefect's server on SQLite answers 503 under bursts."""
    name = named(SLOW)

    with (
        serving(unavailable_at_first(api_port(), answers=1)) as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
    ):
        request(machine.process(name))

    assert used(name) > 0
    assert machine.warnings == []


async def test_the_event_loop_goes_on_while_prefect_is_asked(machine: Machine) -> None:
    """The calls of Prefect's API are made in a thread."""
    budget = machine.process(await asyncio.to_thread(named, SLOW))

    async def count_while(task: asyncio.Task[None]) -> int:
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    async def one_request() -> None:
        async with budget.arequest():
            pass

    with (
        serving(delayed(api_port(), 0.2)) as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
    ):
        ticks = await count_while(asyncio.create_task(one_request()))

    assert ticks >= 10
