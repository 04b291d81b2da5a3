"""One budget for many processes: leased from Prefect, and what happens when that fails."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.settings import PREFECT_API_URL, temporary_settings

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.pacing import shared
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.pacing.lending import Lender
from prefect_ruddr.pacing.prefect_limit import ensure_global_concurrency_limit
from prefect_ruddr.pacing.shared import SharedLimit

from .judge import delayed, serving, silent, unavailable_at_first

pytestmark = pytest.mark.usefixtures("prefect_api")

RATE, BURST = 20.0, 60
SLOW, LARGE = 0.1, 1000
"""So slow that what a test has used is still to be seen when it looks."""


@pytest.fixture
def limit() -> str:
    """The name of a limit that fits."""
    name = f"ruddr-{uuid.uuid4()}"
    ensure_global_concurrency_limit(name, RATE, BURST)
    return name


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The slots of each lease that is asked for."""
    asked: list[int] = []
    lease = Lender.lease

    def note_and_lease(lender: Lender, slots: int) -> float | None:
        asked.append(slots)
        return lease(lender, slots)

    monkeypatch.setattr(Lender, "lease", note_and_lease)
    return asked


@pytest.fixture
def slow_limit() -> str:
    """The name of a limit that hardly refills."""
    name = f"ruddr-{uuid.uuid4()}"
    ensure_global_concurrency_limit(name, SLOW, LARGE)
    return name


def slow_budget(limit: str) -> RequestBudget:
    return RequestBudget(SLOW, LARGE, source=SharedLimit(limit, SLOW, LARGE))


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


def send_at_once(budget: RequestBudget, requests: int) -> None:
    with ThreadPoolExecutor(requests) as threads:
        sent = [threads.submit(copy_context().run, request, budget) for _ in range(requests)]
        for future in sent:
            future.result()


def used(limit: str) -> float:
    """Return the requests that the limit has given, less what has refilled since."""
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit).active_slots / 100


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
    return port


def api_port() -> int:
    return int(PREFECT_API_URL.value().split(":")[-1].split("/")[0])


@both_colours
def test_a_request_is_drawn_from_the_limit(
    send: Callable[[RequestBudget], None], slow_limit: str
) -> None:
    """Whoever else uses it finds one request less."""
    send(slow_budget(slow_limit))

    assert 0 < used(slow_limit) <= 1


def test_callers_share_a_lease(limit: str, leases: list[int]) -> None:
    """Forty waiting threads take a few calls of Prefect's API, not forty."""
    send_at_once(RequestBudget(RATE, BURST, source=SharedLimit(limit, RATE, BURST)), 40)

    assert sum(leases) >= 40 * 100
    assert len(leases) <= 13


def test_the_next_turns_are_leased_before_they_are_asked_for(limit: str, leases: list[int]) -> None:
    """So a caller with one request after the other does not wait for Prefect at each."""
    budget = RequestBudget(RATE, BURST, source=SharedLimit(limit, RATE, BURST))

    for _ in range(30):
        with budget.request():
            time.sleep(0.05)  # what an answer of Ruddr takes, in which the next turn is leased

    assert len(leases) <= 20


@both_colours
def test_a_missing_limit_fails_the_call(send: Callable[[RequestBudget], None]) -> None:
    """The message says how to create it; once created, the same budget goes on."""
    name = f"ruddr-{uuid.uuid4()}"
    budget = slow_budget(name)

    with pytest.raises(GlobalConcurrencyLimitError, match=rf"'{name}' does not exist: create"):
        send(budget)
    ensure_global_concurrency_limit(name, SLOW, LARGE)
    send(budget)

    assert used(name) > 0


def test_a_limit_that_does_not_fit_fails_the_call() -> None:
    """Nothing is sent on a limit that means something else."""
    name = f"ruddr-{uuid.uuid4()}"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=60))

    with pytest.raises(GlobalConcurrencyLimitError, match="does not fit"):
        request(slow_budget(name))


def test_a_limit_of_whole_requests_serves_as_well() -> None:
    """As somebody creates it who reads the vendor's limits."""
    name = f"ruddr-{uuid.uuid4()}"
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(name=name, limit=1000, slot_decay_per_second=SLOW)
        )

    send_at_once(slow_budget(name), 3)

    assert 3 <= used(name) * 100 <= 6


def test_without_prefects_api_the_process_paces_itself(
    slow_limit: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run goes on, with one warning."""
    caplog.set_level(logging.WARNING, "prefect_ruddr")
    budget = slow_budget(slow_limit)

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{closed_port()}/api"}):
        for _ in range(3):
            request(budget)

    warnings = [record.getMessage() for record in caplog.records if record.name == "prefect_ruddr"]
    assert len(warnings) == 1
    assert f"{slow_limit!r} cannot be used, so this process paces itself alone" in warnings[0]


def test_an_api_that_does_not_answer_holds_up_nobody_for_long(
    slow_limit: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's own client would try for more than a minute."""
    monkeypatch.setattr(shared, "PATIENCE_SECONDS", 0.5)
    caplog.set_level(logging.WARNING, "prefect_ruddr")

    with (
        serving(silent) as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
    ):
        request(slow_budget(slow_limit))

    assert "Prefect's API: no answer for 0.5 s" in caplog.text


def test_the_limit_is_used_again_when_the_api_is_back(
    slow_limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while without it, and without holding up anybody."""
    monkeypatch.setattr(shared, "RETRY_SECONDS", 0.1)
    budget = slow_budget(slow_limit)
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{closed_port()}/api"}):
        request(budget)
    assert used(slow_limit) == 0

    while not used(slow_limit):
        request(budget)


def test_a_busy_api_gets_a_second_chance(slow_limit: str, caplog: pytest.LogCaptureFixture) -> None:
    """Prefect's server on SQLite answers 503 under bursts."""
    with (
        serving(unavailable_at_first(api_port(), answers=1)) as port,
        temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}),
    ):
        request(slow_budget(slow_limit))

    assert used(slow_limit) > 0
    assert "prefect_ruddr" not in {record.name for record in caplog.records}


async def test_the_event_loop_goes_on_while_prefect_is_asked(slow_limit: str) -> None:
    """The calls of Prefect's API are made by a thread of their own."""
    budget = slow_budget(slow_limit)

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
