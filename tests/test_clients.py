"""The one client and the one budget of a process: kept, shared, closed, and not inherited."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.api.connection import Connection
from prefect_ruddr.clients import MOST_KEPT, forget_clients, request_budget, ruddr_api
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.sandbox import Sandbox

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the platform does not tell its descriptors"
)


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    gc.collect()
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def own_clients() -> Iterator[None]:
    forget_clients()
    yield
    forget_clients()


def with_key(sandbox: Sandbox, key: str) -> Connection:
    return Connection(sandbox.base_url, SecretStr(key), requests_per_second=1000, burst=1000)


def ask(connection: Connection) -> None:
    """Send one request with a key that may be wrong; the connection stays open after it."""
    with pytest.raises(Exception, match="401"):
        ruddr_api(connection).workspace()


async def aask(connection: Connection) -> None:
    """Async version of `ask`."""
    with pytest.raises(Exception, match="401"):
        await ruddr_api(connection).aworkspace()


def test_the_clients_of_keys_that_were_rotated_are_closed(sandbox: Sandbox) -> None:
    """A process that lives for months sees many keys; the last few clients are kept."""
    before = descriptors()

    for number in range(4 * MOST_KEPT):
        ask(with_key(sandbox, f"key-{number}"))

    # The sandbox is in this process: each connection has two ends here, and it closes its own
    # when it gets to it.
    while descriptors() - before > 2 * MOST_KEPT:
        time.sleep(0.1)


async def test_the_clients_of_an_event_loop_are_closed_in_it(sandbox: Sandbox) -> None:
    """Where the loop lives on, and other keys are used in it."""
    before = descriptors()

    for number in range(100):
        await aask(with_key(sandbox, f"key-{number}"))
    forget_clients()

    while descriptors() > before:  # noqa: ASYNC110 - nobody tells us
        await asyncio.sleep(0.1)


# Whoever closes a loop before its generators are finished is warned of that by asyncio.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_clients_of_closed_event_loops_are_closed(sandbox: Sandbox) -> None:
    """Also where a loop was closed without finishing its generators."""
    connection = with_key(sandbox, "one-key")
    before = descriptors()

    for _ in range(50):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(aask(connection))
        loop.close()

    # That of the last loop is still kept.
    while descriptors() - before > 2:
        time.sleep(0.1)
    forget_clients()
    while descriptors() > before:
        time.sleep(0.1)


def test_a_client_that_is_in_use_is_not_closed_under_its_user(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """However many others come meanwhile; and whoever asks gets the same one."""
    api = ruddr_credentials.get_client()
    sandbox.fail_next(delay=1.0)
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(api.workspace)
        for number in range(2 * MOST_KEPT):
            ruddr_api(with_key(sandbox, f"key-{number}"))
        forget_clients()

        assert answer.result().name == sandbox.workspace["name"]
    assert ruddr_credentials.get_client() is api


def test_a_later_sandbox_on_the_port_of_an_earlier_one_gets_a_client_of_its_own(
    sandbox: Sandbox,
) -> None:
    """What is kept can be forgotten, as each test does that starts a sandbox."""
    earlier = id(ruddr_api(with_key(sandbox, sandbox.api_key)))
    kept = ruddr_api(with_key(sandbox, sandbox.api_key))
    assert id(kept) == earlier

    forget_clients()

    assert kept._client is None
    del kept
    again = ruddr_api(with_key(sandbox, sandbox.api_key))
    again.workspace()
    assert again._client is not None


def test_all_threads_get_one_client_and_one_budget(sandbox: Sandbox) -> None:
    """Whoever asks, and however many at once."""
    connection = with_key(sandbox, "one-key")
    at_once = threading.Barrier(16)

    def get(_: int) -> tuple[Any, RequestBudget]:
        at_once.wait()
        return ruddr_api(connection), request_budget(connection)

    with ThreadPoolExecutor(16) as threads:
        got = set(threads.map(get, range(16)))

    assert len(got) == 1


def test_who_agrees_on_the_limits_shares_a_budget(sandbox: Sandbox) -> None:
    """Another timeout makes another client, and not twice as many requests."""
    one = Connection(sandbox.base_url, SecretStr("key"), timeout_seconds=1.0)
    other = Connection(sandbox.base_url, SecretStr("key"), timeout_seconds=2.0)

    budget = request_budget(one)

    assert budget is request_budget(other)
    assert ruddr_api(one) is not ruddr_api(other)


@pytest.mark.parametrize(
    "other",
    [
        {"api_key": SecretStr("other")},
        {"base_url": "http://127.0.0.1:2/workspace"},
        {"requests_per_second": 10.0},
        {"burst": 30},
    ],
    ids=lambda other: next(iter(other)),
)
def test_other_values_have_another_budget(other: dict[str, Any]) -> None:
    """Two keys may be of two workspaces; nobody can tell without asking."""
    values: dict[str, Any] = {
        "base_url": "http://127.0.0.1:1/workspace",
        "api_key": SecretStr("key"),
    }
    budget = request_budget(Connection(**values))

    assert request_budget(Connection(**values | other)) is not budget


def test_a_budget_is_named_by_what_tells_neither_key_nor_address(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Whoever lists the folder learns nothing."""
    connection = with_key(sandbox, "the-key")
    with request_budget(connection).request():
        pass

    file, lock = sorted((tmp_path / "budgets").iterdir())
    assert lock.name == f"{file.name}.lock"
    kind, name = file.name.split("-")
    assert (kind, len(name)) == ("budget", 16)
    assert int(name, 16)
    assert "the-key" not in file.read_text()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_children_forked_while_threads_start_clients_do_not_hang(sandbox: Sandbox) -> None:
    """A lock that a thread of the parent held stays locked in the child for ever."""
    stop = threading.Event()

    def start_clients(thread: int) -> None:
        number = 0
        while not stop.is_set():
            number += 1
            ask(with_key(sandbox, f"key-{thread}-{number}"))

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(start_clients, thread) for thread in range(4)]
        ends = []
        for number in range(15):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                api = ruddr_api(with_key(sandbox, f"child-{number}"))
                os._exit(7 if isinstance(api._budget, RequestBudget) and take(api._budget) else 1)
            ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop.set()
        for future in running:
            future.result()

    assert ends == [7] * 15


def take(budget: RequestBudget) -> bool:
    with budget.request():
        return True


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_inherits_no_client(sandbox: Sandbox) -> None:
    """Two processes that write into one socket would read each other's answers."""
    connection = with_key(sandbox, sandbox.api_key)
    parent = ruddr_api(connection)
    parent.workspace()

    child = os.fork()
    if child == 0:
        os._exit(7 if ruddr_api(connection) is not parent else 1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert ruddr_api(connection) is parent
