"""One workspace, many callers: threads share a client, each event loop has its own."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import RuddrCredentials, StageUpdate
from prefect_ruddr.api import wire
from prefect_ruddr.api.connection import Connection
from prefect_ruddr.sandbox import Sandbox


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The HTTP clients that have been made, sync and async; they are real ones."""
    made: list[str] = []

    def noted(kind: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def note(connection: Connection) -> Any:
            made.append(kind)
            return make(connection)

        return note

    monkeypatch.setattr(wire, "sync_client", noted("sync", wire.sync_client))
    monkeypatch.setattr(wire, "async_client", noted("async", wire.async_client))
    return made


def updates(sandbox: Sandbox, count: int) -> list[StageUpdate]:
    """Return updates that come round the stages of the workspace."""
    ids = [stage["id"] for stage in sandbox.stages]
    return [
        StageUpdate(id=UUID(ids[number % len(ids)]), probability=number / 10_000)
        for number in range(count)
    ]


def test_equal_credentials_share_one_client(ruddr_credentials: RuddrCredentials) -> None:
    """Each task run has a copy of its own of the block."""
    assert ruddr_credentials.model_copy(deep=True).get_client() is ruddr_credentials.get_client()


def test_other_credentials_share_nothing(ruddr_credentials: RuddrCredentials) -> None:
    """A client holds a key, a timeout and a budget."""
    other = ruddr_credentials.model_copy(update={"timeout_seconds": 1.0})
    assert other.get_client() is not ruddr_credentials.get_client()


def test_threads_share_one_client(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, made: list[str]
) -> None:
    """However many begin at once, one client is made, and each gets its own answer."""
    wanted = updates(sandbox, 200)
    with ThreadPoolExecutor(16) as threads:
        answers = list(
            threads.map(lambda update: ruddr_credentials.get_client().update_stage(update), wanted)
        )
    assert [(a.value.id, a.value.probability) for a in answers] == [
        (update.id, update.probability) for update in wanted
    ]
    assert made == ["sync"]
    assert len(sandbox.requests) == 200


def test_coroutines_share_one_client(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, made: list[str]
) -> None:
    """Of the event loop that they run in."""
    wanted = updates(sandbox, 60)

    async def change_all() -> list[Any]:
        api = ruddr_credentials.get_client()
        return await asyncio.gather(*(api.aupdate_stage(update) for update in wanted))

    answers = asyncio.run(change_all())
    assert [a.value.probability for a in answers] == [update.probability for update in wanted]
    assert made == ["async"]


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_each_event_loop_has_a_client_of_its_own(
    ruddr_credentials: RuddrCredentials, made: list[str]
) -> None:
    """One loop after another works, and the end of a loop closes what was open in it."""
    api = ruddr_credentials.get_client()
    for _ in range(3):
        asyncio.run(api.aworkspace())
        gc.collect()
    assert made == ["async"] * 3
    assert not api._async_clients


def test_the_certificates_are_read_once_for_all_event_loops(
    ruddr_credentials: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take longer to read than a request takes, and async tasks have a loop each."""
    asyncio.run(ruddr_credentials.get_client().aworkspace())
    monkeypatch.delattr(ssl, "create_default_context")
    asyncio.run(ruddr_credentials.get_client().aworkspace())


def test_event_loops_of_several_threads_run_at_once(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Nothing of one loop is used in another."""

    async def change_all(wanted: list[StageUpdate]) -> None:
        api = ruddr_credentials.get_client()
        await asyncio.gather(*(api.aupdate_stage(update) for update in wanted))

    wanted = updates(sandbox, 80)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: asyncio.run(change_all(wanted[n::4])), range(4)))
    assert len(sandbox.requests) == 80


def test_a_cancelled_call_lets_the_next_one_through(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """It gives back its connection and its place in the request budget."""
    credentials = ruddr_credentials.model_copy(update={"burst": 1})
    api = credentials.get_client()
    sandbox.fail_next(hang=True)

    async def cancel_one() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await api.aworkspace()
        return (await api.aworkspace()).name

    assert asyncio.run(cancel_one()) == sandbox.workspace["name"]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_makes_connections_of_its_own(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Two processes that write into one socket would read each other's answers."""
    parent = ruddr_credentials.get_client()
    parent.workspace()
    here, there = multiprocessing.Pipe()

    def in_the_child() -> None:
        api = ruddr_credentials.get_client()
        there.send((api is parent, api.workspace().name))

    child = multiprocessing.get_context("fork").Process(target=in_the_child)
    child.start()
    assert here.poll(30)
    assert here.recv() == (False, sandbox.workspace["name"])
    child.join()
    assert parent.workspace().name == sandbox.workspace["name"]
    assert len(sandbox.requests) == 3
