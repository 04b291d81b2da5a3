"""Waiting for a turn: from threads and event loops, in order, and without losing one."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from prefect_ruddr.clients import request_budget
from prefect_ruddr.pacing import budget as budget_module
from prefect_ruddr.pacing.budget import RequestBudget

from .manual_clock import ManualClock, timekeepers

A_TURN = 1.001
"""Seconds in which one request becomes possible, and not two."""


class Caller(threading.Thread):
    """A thread that makes one request."""

    def __init__(self, budget: RequestBudget, done: list[str], name: str) -> None:
        super().__init__(name=name)
        self.budget = budget
        self.done = done
        self.error: BaseException | None = None

    def run(self) -> None:
        """Wait, and note the name or the error."""
        try:
            with self.budget.request():
                self.done.append(self.name)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error


class Stop(BaseException):
    """What a test raises in a waiting thread."""


def queue_up(caller: Caller, clock: ManualClock) -> Caller:
    """Start a caller and return when it waits in the queue."""
    before = len(caller.budget._waiters)
    caller.start()
    while len(caller.budget._waiters) == before and caller.is_alive():
        time.sleep(0.001)
    clock.settle()
    return caller


async def request(budget: RequestBudget, done: list[str], name: str) -> None:
    async with budget.arequest():
        done.append(name)


async def run_ready_tasks() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_thread_waits_until_the_bucket_has_refilled(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """Not before, and no longer."""
    done: list[str] = []
    caller = queue_up(Caller(empty_budget, done, "caller"), clock)

    clock.advance(0.99)
    assert done == []
    clock.advance(0.02)
    caller.join(10)

    assert done == ["caller"]


async def test_a_coroutine_waits_until_the_bucket_has_refilled(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """Not before, and no longer."""
    done: list[str] = []
    task = asyncio.create_task(request(empty_budget, done, "task"))
    await run_ready_tasks()

    clock.advance(0.99)
    await run_ready_tasks()
    assert done == []
    clock.advance(0.02)
    await asyncio.wait_for(task, 10)

    assert done == ["task"]


async def test_threads_and_coroutines_are_served_in_the_order_they_came(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """One queue for both."""
    done: list[str] = []
    first = queue_up(Caller(empty_budget, done, "first thread"), clock)
    second = asyncio.create_task(request(empty_budget, done, "second task"))
    await run_ready_tasks()
    third = queue_up(Caller(empty_budget, done, "third thread"), clock)

    clock.advance(A_TURN)
    first.join(10)
    assert done == ["first thread"]
    clock.advance(A_TURN)
    await asyncio.wait_for(second, 10)
    assert done == ["first thread", "second task"]
    clock.advance(A_TURN)
    third.join(10)
    assert done == ["first thread", "second task", "third thread"]


async def test_a_cancelled_coroutine_leaves_its_turn_to_the_next(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """The turn that comes next is not lost with it."""
    done: list[str] = []
    cancelled = asyncio.create_task(request(empty_budget, done, "cancelled"))
    following = asyncio.create_task(request(empty_budget, done, "following"))
    await run_ready_tasks()

    cancelled.cancel()
    await run_ready_tasks()
    clock.advance(A_TURN)
    await asyncio.wait_for(following, 10)

    assert cancelled.cancelled()
    assert done == ["following"]


async def test_a_turn_given_to_a_coroutine_that_is_just_being_cancelled_goes_to_the_next(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """It had been admitted, but never sent anything, so nothing is debited."""
    done: list[str] = []
    cancelled = asyncio.create_task(request(empty_budget, done, "cancelled"))
    following = asyncio.create_task(request(empty_budget, done, "following"))
    await run_ready_tasks()

    clock.advance(A_TURN)
    cancelled.cancel()
    await asyncio.wait_for(following, 10)

    assert cancelled.cancelled()
    assert done == ["following"]


def test_an_exception_raised_in_a_waiting_thread_leaves_its_turn_to_the_next(
    empty_budget: RequestBudget, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Prefect raises its timeouts in the thread of a task run."""
    monkeypatch.setattr(budget_module, "ATTENTION_SECONDS", 0.01)
    done: list[str] = []
    stopped = queue_up(Caller(empty_budget, done, "stopped"), clock)
    following = queue_up(Caller(empty_budget, done, "following"), clock)

    assert stopped.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(stopped.ident), ctypes.py_object(Stop)
    )
    stopped.join(10)
    clock.advance(A_TURN)
    following.join(10)

    assert isinstance(stopped.error, Stop)
    assert done == ["following"]


def test_a_failed_request_is_debited(empty_budget: RequestBudget, clock: ManualClock) -> None:
    """The server may have counted it."""
    clock.advance(A_TURN)
    with pytest.raises(Stop), empty_budget.request():
        raise Stop
    done: list[str] = []
    caller = queue_up(Caller(empty_budget, done, "caller"), clock)

    clock.advance(0.9)
    assert done == []
    clock.advance(0.2)
    caller.join(10)

    assert done == ["caller"]


def test_nobody_sends_during_a_slow_down(clock: ManualClock) -> None:
    """Nor right after it, since the bucket was emptied."""
    budget = RequestBudget(1.0, 3, clock=clock)
    done: list[str] = []

    budget.slow_down(10.0)
    caller = queue_up(Caller(budget, done, "caller"), clock)
    clock.advance(10.9)
    assert done == []
    clock.advance(0.2)
    caller.join(10)

    assert done == ["caller"]


def test_one_budget_serves_event_loops_one_after_the_other(clock: ManualClock) -> None:
    """A flow may call `asyncio.run` more than once."""
    budget = RequestBudget(1000.0, 1)
    done: list[str] = []

    async def two_requests() -> None:
        await asyncio.gather(request(budget, done, "one"), request(budget, done, "two"))

    asyncio.run(two_requests())
    asyncio.run(two_requests())

    assert done == ["one", "two", "one", "two"]


def test_a_sync_request_on_the_thread_of_an_event_loop_gets_its_turn() -> None:
    """Though the coroutines before it in the queue cannot go on meanwhile."""
    budget = RequestBudget(1000.0, 10)
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
def test_a_waiter_whose_event_loop_was_closed_is_passed_over(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """Its turn goes to the next in the queue."""
    done: list[str] = []
    loop = asyncio.new_event_loop()
    left_behind = loop.create_task(request(empty_budget, done, "left behind"))
    loop.run_until_complete(run_ready_tasks())
    loop.close()
    following = queue_up(Caller(empty_budget, done, "following"), clock)

    clock.advance(A_TURN)
    following.join(10)

    assert done == ["following"]
    left_behind.get_coro().close()


async def test_thousands_of_waiters_are_woken_once_each(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """Waking all of them for each turn would take minutes."""
    done: list[str] = []
    tasks = [asyncio.create_task(request(empty_budget, done, str(i))) for i in range(3000)]
    await run_ready_tasks()

    while not all(task.done() for task in tasks):
        clock.advance(3.0)
        await run_ready_tasks()

    assert done == [str(i) for i in range(3000)]
    assert clock.waits < 3 * len(tasks)


def test_no_thread_is_left_when_nobody_waits(
    empty_budget: RequestBudget, clock: ManualClock
) -> None:
    """The one that keeps the time ends with the queue."""
    caller = queue_up(Caller(empty_budget, [], "caller"), clock)
    assert len(timekeepers()) == 1

    clock.advance(A_TURN)
    caller.join(10)
    clock.settle()

    assert timekeepers() == []


def test_64_threads_and_async_callers_share_one_budget() -> None:
    """In real time: never faster than the bucket, and hardly slower."""
    budget = RequestBudget(500.0, 20)
    done: list[str] = []

    def five_requests(name: int) -> None:
        for _ in range(5):
            with budget.request():
                done.append(str(name))

    async def a_hundred_requests() -> None:
        await asyncio.gather(*(request(budget, done, "task") for _ in range(100)))

    started = time.monotonic()
    with ThreadPoolExecutor(65) as threads:
        futures = [threads.submit(five_requests, name) for name in range(64)]
        futures.append(threads.submit(asyncio.run, a_hundred_requests()))
        for future in futures:
            future.result()
    seconds = time.monotonic() - started

    assert len(done) == 420
    assert (420 - 20) / 500 <= seconds <= 2 * (420 - 20) / 500


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_with_a_fresh_budget() -> None:
    """It inherits neither what was spent nor a lock that was held."""
    budget = request_budget("forking workspace", 0.01, 1, None)
    with budget.request():
        pass

    with budget._changed:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with request_budget("forking workspace", 0.01, 1, None).request():
                os._exit(7)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7


def test_a_process_has_one_budget_for_a_workspace_and_its_limits() -> None:
    """Whoever asks, and from as many threads at once."""
    with ThreadPoolExecutor(8) as threads:
        budgets = set(
            threads.map(lambda _: request_budget("one workspace", 20.0, 60, None), range(100))
        )

    assert len(budgets) == 1


@pytest.mark.parametrize(
    "other",
    [("other", 20.0, 60), ("workspace", 10.0, 60), ("workspace", 20.0, 30)],
    ids=["workspace", "requests_per_second", "burst"],
)
def test_other_values_have_another_budget(other: tuple[str, float, int]) -> None:
    """A budget is shared by those who agree on all of it."""
    assert request_budget(*other, None) is not request_budget("workspace", 20.0, 60, None)
