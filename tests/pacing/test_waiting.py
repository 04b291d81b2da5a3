"""Waiting for a place: from threads and event loops, in order, and without losing one."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prefect_ruddr.machine import machine_time
from prefect_ruddr.pacing import budget as budget_module
from prefect_ruddr.pacing.bucket import Bucket, Place, State
from prefect_ruddr.pacing.budget import RequestBudget

pytestmark = pytest.mark.slow


class Stop(BaseException):
    """What a test raises in a waiting thread."""


class NotedBucket(Bucket):
    """Notes each place that it gives."""

    @property
    def places(self) -> list[Place]:
        """Return the places that were reserved so far."""
        noted: list[Place] = vars(self).setdefault("noted", [])
        return noted

    def reserve(self, state: State, now: float) -> tuple[State, Place]:
        """Note the place."""
        state, place = super().reserve(state, now)
        self.places.append(place)
        return state, place


def used_up(bucket: Bucket, file: Path | None = None) -> RequestBudget:
    """Return a budget that has nothing left."""
    budget = RequestBudget(bucket, file)
    for _ in range(int(bucket.size)):
        with budget.request():
            pass
    return budget


async def request(budget: RequestBudget, done: list[str], name: str) -> None:
    async with budget.arequest():
        done.append(name)


@pytest.mark.parametrize("in_file", [True, False], ids=["in a file", "in memory"])
def test_threads_and_coroutines_of_several_loops_are_served_in_their_order(
    in_file: bool, tmp_path: Path
) -> None:
    """64 threads and 1,000 coroutines of three loops: each once, none before its time."""
    bucket = NotedBucket(1000.0, 60)
    budget = RequestBudget(bucket, tmp_path / "budgets" / "one" if in_file else None)
    sent: list[float] = []
    by_whom: Counter[str] = Counter()
    all_there = threading.Barrier(64 + 3)

    def one_request(name: str) -> None:
        all_there.wait()
        with budget.request():
            sent.append(machine_time())
            by_whom[name] += 1

    async def one_request_of(name: str) -> None:
        async with budget.arequest():
            sent.append(machine_time())
            by_whom[name] += 1

    async def many_requests(loop: int, requests: int) -> None:
        all_there.wait()
        await asyncio.gather(*(one_request_of(f"{loop}-{n}") for n in range(requests)))

    with ThreadPoolExecutor(64 + 3) as threads:
        futures = [threads.submit(one_request, f"thread {n}") for n in range(64)]
        for loop, requests in enumerate((334, 333, 333)):
            futures.append(threads.submit(asyncio.run, many_requests(loop, requests)))
        for future in futures:
            future.result()

    assert len(by_whom) == sum(by_whom.values()) == 1064
    times = [place.at for place in bucket.places]
    assert times == sorted(times)
    # The n-th to send had the n-th place or a later one, so nobody sent before its time.
    assert all(at <= now for at, now in zip(times, sorted(sent), strict=False))


def test_a_thread_waits_until_its_time_has_come() -> None:
    """And not less."""
    bucket = NotedBucket(20.0, 1)
    budget = used_up(bucket)

    with budget.request():
        now = machine_time()

    assert now >= bucket.places[-1].at > bucket.places[0].at


async def test_a_cancelled_coroutine_leaves_its_place_to_the_next_that_comes() -> None:
    """Nothing of the budget is lost with it."""
    bucket = NotedBucket(2.0, 1)
    budget = used_up(bucket)
    done: list[str] = []
    tasks = [asyncio.create_task(request(budget, done, str(n))) for n in range(3)]
    await asyncio.sleep(0)

    tasks[0].cancel()
    await asyncio.wait(tasks[:1])
    following = asyncio.create_task(request(budget, done, "following"))
    await asyncio.sleep(0)

    assert bucket.places[-1].at == pytest.approx(bucket.places[1].at)
    await asyncio.gather(following, *tasks[1:])
    assert done == ["following", "1", "2"]


async def test_when_all_are_cancelled_the_next_does_not_wait_for_them() -> None:
    """As a flow is, with a thousand requests before it."""
    bucket = NotedBucket(0.001, 1)
    budget = used_up(bucket)
    tasks = [asyncio.create_task(request(budget, [], "")) for _ in range(1000)]
    await asyncio.sleep(0)

    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert budget._change(bucket.reserve).number == 2


def test_an_exception_raised_in_a_waiting_thread_gives_its_place_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Prefect raises its timeouts in the thread of a task run."""
    monkeypatch.setattr(budget_module, "ATTENTION_SECONDS", 0.01)
    bucket = NotedBucket(0.001, 1)
    budget = used_up(bucket)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            with budget.request():
                pass
        except Stop as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    while len(bucket.places) < 2:
        pass
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Stop))
    thread.join()
    after = budget._change(bucket.reserve)

    assert len(errors) == 1
    assert after.number == 2


def test_a_failed_request_is_debited() -> None:
    """Ruddr may have counted it."""
    bucket = NotedBucket(1000.0, 60)
    budget = RequestBudget(bucket)

    with pytest.raises(Stop), budget.request():
        raise Stop

    assert budget._change(bucket.reserve).number == 2


def test_those_who_wait_when_a_429_comes_wait_again() -> None:
    """Not only those who come after it."""
    bucket = NotedBucket(20.0, 1)
    budget = used_up(bucket)
    sent: list[float] = []

    def wait() -> None:
        with budget.request():
            sent.append(machine_time())

    thread = threading.Thread(target=wait)
    thread.start()
    while len(bucket.places) < 2:
        pass
    slowed_at = machine_time()
    budget.slow_down(0.3)
    thread.join()

    assert sent[0] >= slowed_at + 0.3


def test_one_budget_serves_event_loops_one_after_the_other() -> None:
    """A flow may call `asyncio.run` more than once."""
    budget = RequestBudget(Bucket(1000.0, 1))
    done: list[str] = []

    async def two_requests() -> None:
        await asyncio.gather(request(budget, done, "one"), request(budget, done, "two"))

    asyncio.run(two_requests())
    asyncio.run(two_requests())

    # A busy loop wakes both at once, and then either may look first.
    assert [sorted(done[:2]), sorted(done[2:])] == [["one", "two"]] * 2


def test_a_sync_request_on_the_thread_of_an_event_loop_gets_its_turn() -> None:
    """Though the coroutines before it cannot go on meanwhile."""
    budget = RequestBudget(Bucket(1000.0, 10))
    done: list[str] = []

    async def both_colours() -> None:
        tasks = [asyncio.create_task(request(budget, done, "task")) for _ in range(15)]
        await asyncio.sleep(0)
        with budget.request():
            done.append("sync")
        await asyncio.gather(*tasks)

    asyncio.run(both_colours())

    assert sorted(done) == ["sync"] + ["task"] * 15


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_whoever_waits_in_a_closed_event_loop_holds_up_nobody() -> None:
    """Its place passes."""
    budget = used_up(Bucket(20.0, 1))
    done: list[str] = []
    loop = asyncio.new_event_loop()
    left_behind = loop.create_task(request(budget, done, "left behind"))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

    with budget.request():
        done.append("following")

    assert done == ["following"]
    left_behind.get_coro().close()


def test_nobody_waits_in_a_thread_of_ours() -> None:
    """Each sleeps where it is."""
    before = threading.active_count()
    budget = used_up(Bucket(20.0, 1))

    with budget.request():
        assert threading.active_count() == before
