"""The request budget of a workspace: who may send the next request, and when.

Knows time, threads and event loops; knows neither HTTP nor Prefect.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Protocol

CLOCK_TOLERANCE = 5e-4
"""How much slower than ours the server's clock may run: NTP slews by at most 500 ppm."""

ATTENTION_SECONDS = 1.0
"""How soon a waiting thread notices an exception that another thread raised in it, as Prefect's
timeouts do: a lock, once waited for, hears nothing else."""


class TokenBucket:
    """A token bucket that is debited when a request completes. No clock, no lock.

    A request may start while `level - in_flight >= 1`; then the server's bucket S (same size,
    same rate) never refuses one that arrives between its start and its completion. Proof: let
    `a <= in_flight` be the requests that arrived and did not complete yet. `S >= level - a` holds
    at first, on arrival (S - 1, a + 1), on completion (level - 1, a - 1), and as time passes (S
    refills at our rate or is full). A request about to arrive is in flight and not in `a`, so
    `a <= in_flight - 1`, and `S >= level - in_flight + 1 >= 1`: no start, completion or refill
    ever takes `level - in_flight` below 0.

    The price is the refill that a full bucket cannot take before the first request completes:
    once, one latency. At most `burst` requests are in flight.

    Args:
        requests_per_second: The refill, in requests per second.
        burst: The size, in requests. The bucket starts full.
        now: The time, in seconds of any clock; all other times are of the same one.
    """

    def __init__(self, requests_per_second: float, burst: int, now: float) -> None:
        if requests_per_second <= 0:
            raise ValueError(f"requests_per_second must be above 0, not {requests_per_second}")
        if burst < 1:
            raise ValueError(f"burst must be at least 1, not {burst}")
        self.rate = requests_per_second * (1 - CLOCK_TOLERANCE)
        self.burst = burst
        self.in_flight = 0
        self._level = float(burst)
        self._as_of = now

    def seconds_until_next(self, now: float) -> float | None:
        """Return how long the next request has to wait; None if one must complete first."""
        needed = self.in_flight + 1
        if needed > self.burst:
            return None
        self._refill(now)
        return max(0.0, self._as_of - now + (needed - self._level) / self.rate)

    def start(self) -> None:
        """Count one more request in flight."""
        self.in_flight += 1

    def complete(self, now: float) -> None:
        """Debit a request that was answered, failed or was given up."""
        self._refill(now)
        self._level -= 1
        self.in_flight -= 1

    def withdraw(self) -> None:
        """Take back a start that led to no request."""
        self.in_flight -= 1

    def pause(self, now: float, seconds: float) -> None:
        """Empty the bucket, and refill it only once `seconds` have passed."""
        self._refill(now)
        self._level = min(self._level, float(self.in_flight))
        self._as_of = max(self._as_of, now + seconds)

    def _refill(self, now: float) -> None:
        if now > self._as_of:
            self._level = min(self.burst, self._level + (now - self._as_of) * self.rate)
            self._as_of = now


class Clock(Protocol):
    """Time, as the budget sees it; tests bring their own."""

    def now(self) -> float:
        """Return the time in seconds; it never goes back."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> object:
        """Wait for the condition, which is held, or until `seconds` have passed."""


class MonotonicClock:
    """The time of this machine."""

    def now(self) -> float:
        """Return the time in seconds; it never goes back."""
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> object:
        """Wait for the condition, which is held, or until `seconds` have passed."""
        return condition.wait(seconds)


class _Waiter:
    """One caller in the queue; `call` makes it go on, from any thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.admitted = False


class RequestBudget:
    """The requests that a workspace still allows, for this process.

    Threads and coroutines of any number of event loops wait in one queue, first come, first
    served. While somebody waits, one daemon thread wakes exactly those whose turn has come;
    otherwise there is none.

    A sync request made on the thread of an event loop blocks that loop, as all blocking does: the
    async requests it holds cannot complete meanwhile.

    Args:
        requests_per_second: The vendor's refill, in requests per second; documented as 20.
        burst: The vendor's bucket, in requests; documented as 60.
        clock: Where the time comes from.

    Example:
        ```python
        budget = RequestBudget(requests_per_second=20, burst=60)
        with budget.request():
            print("one request is sent and answered here")
        ```
    """

    def __init__(
        self,
        requests_per_second: float = 20.0,
        burst: int = 60,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._new_bucket = partial(TokenBucket, requests_per_second, burst)
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget all requests and waiters: those of the parent process, in a forked child."""
        self._changed = threading.Condition(threading.Lock())
        self._bucket = self._new_bucket(self._clock.now())
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._timekeeper: threading.Thread | None = None

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait for a turn and hold it until the answer has come.

        Yields:
            Once the request may be sent.
        """
        turn = threading.Event()
        waiter = _Waiter(turn.set)
        try:
            if not self._enter(waiter):
                while not turn.wait(ATTENTION_SECONDS):
                    pass
        except BaseException:
            self._leave(waiter)
            raise
        try:
            yield
        finally:
            self._complete()

    @asynccontextmanager
    async def arequest(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it until the answer has come; the async twin.

        Yields:
            Once the request may be sent.
        """
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        waiter = _Waiter(partial(loop.call_soon_threadsafe, _resolve, turn))
        try:
            if not self._enter(waiter):
                await turn
        except BaseException:
            self._leave(waiter)
            raise
        try:
            yield
        finally:
            self._complete()

    def slow_down(self, seconds: float) -> None:
        """Let nobody in this process send for a while: the server said 429.

        After that, requests go on at the refill rate rather than with a burst.

        Args:
            seconds: How long, at least 0.
        """
        with self._changed:
            self._bucket.pause(self._clock.now(), seconds)

    def _enter(self, waiter: _Waiter) -> bool:
        """Admit at once if nobody waits and the bucket allows it, else queue."""
        with self._changed:
            self._waiters[waiter] = None
            self._admit()
            if not waiter.admitted and self._timekeeper is None:
                timekeeper = threading.Thread(
                    target=self._keep_time, name="ruddr-request-budget", daemon=True
                )
                timekeeper.start()
                self._timekeeper = timekeeper
            return waiter.admitted

    def _leave(self, waiter: _Waiter) -> None:
        """Give the place in the queue, or the turn that was not used, to the next."""
        with self._changed:
            self._waiters.pop(waiter, None)
            if waiter.admitted:
                self._bucket.withdraw()
            self._changed.notify()

    def _complete(self) -> None:
        with self._changed:
            self._bucket.complete(self._clock.now())
            if self._waiters:
                self._changed.notify()

    def _admit(self) -> float | None:
        """Admit those whose turn has come; return the seconds until the next turn."""
        while self._waiters:
            wait = self._bucket.seconds_until_next(self._clock.now())
            if wait is None or wait > 0:
                return wait
            waiter, _ = self._waiters.popitem(last=False)
            self._bucket.start()
            waiter.admitted = True
            try:
                waiter.call()
            except RuntimeError:  # its event loop was closed while it waited
                self._bucket.withdraw()
        return None

    def _keep_time(self) -> None:
        with self._changed:
            while True:
                wait = self._admit()
                if not self._waiters:
                    self._timekeeper = None
                    return
                self._clock.wait(self._changed, wait)


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


_registry: dict[tuple[str, float, int, str | None], RequestBudget] = {}
_registry_lock = threading.Lock()


def request_budget(
    workspace: str,
    requests_per_second: float,
    burst: int,
    global_concurrency_limit: str | None,
) -> RequestBudget:
    """Return the one budget of this process for these values.

    Args:
        workspace: Any text that tells workspaces apart; it must not hold a key.
        requests_per_second: The vendor's refill, in requests per second.
        burst: The vendor's bucket, in requests.
        global_concurrency_limit: The Prefect global concurrency limit that all processes and
            machines draw from, or None for a budget of this process alone.
    """
    values = (workspace, requests_per_second, burst, global_concurrency_limit)
    with _registry_lock:
        budget = _registry.get(values)
        if budget is None:
            budget = _registry[values] = RequestBudget(requests_per_second, burst)
        return budget


def _start_afresh_in_child() -> None:
    global _registry_lock  # noqa: PLW0603 - the parent may have held it when it forked
    _registry_lock = threading.Lock()
    for budget in _registry.values():
        budget.start_afresh()


os.register_at_fork(after_in_child=_start_afresh_in_child)
