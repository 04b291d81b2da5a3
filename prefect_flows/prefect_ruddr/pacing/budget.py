"""The queue of those who want to send a request: who may, and when.

Knows time, threads and event loops; knows neither HTTP nor Prefect.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from functools import partial
from typing import Protocol

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.pacing.token_bucket import TokenBucket

ATTENTION_SECONDS = 1.0
"""How often a waiting thread looks up: for an exception that another thread raised in it, as
Prefect's timeouts do, and for shared turns that do not come."""


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


class SharedTurns(Protocol):
    """Turns that other processes draw on too. Its methods return at once."""

    on_news: Callable[[], None]
    """Called, from any thread, when `take` may have another answer."""

    def take(self, waiting: int, in_flight: int) -> bool:
        """Use one turn for the first of `waiting` callers, or ask for turns and return False.

        Somebody asks again when there is news, and every second.

        Raises:
            GlobalConcurrencyLimitError: There will be none.
        """

    def start_afresh(self) -> None:
        """Forget everything: in a forked child."""


class _Waiter:
    """One caller in the queue; `call` makes it go on, from any thread."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.admitted = False
        self.refusal: str | None = None

    def check(self) -> None:
        if self.refusal is not None:
            raise GlobalConcurrencyLimitError(self.refusal)


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
        source: Where turns come from that other processes draw on too, or None.

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
        source: SharedTurns | None = None,
    ) -> None:
        self._clock = clock or MonotonicClock()
        self._source = source
        self._new_bucket = partial(TokenBucket, requests_per_second, burst)
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget all requests and waiters: those of the parent process, in a forked child."""
        self._changed = threading.Condition(threading.Lock())
        self._bucket = self._new_bucket(self._clock.now())
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._timekeeper: threading.Thread | None = None
        if self._source is not None:
            self._source.start_afresh()
            self._source.on_news = self._look_again

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait for a turn and hold it until the answer has come.

        Yields:
            Once the request may be sent.

        Raises:
            GlobalConcurrencyLimitError: The shared limit is missing or does not fit.
        """
        # A lock that whoever gives the turn releases: an event takes twice as long.
        turn = threading.Lock()
        turn.acquire()
        waiter = _Waiter(turn.release)
        try:
            if not self._enter(waiter):
                while not turn.acquire(timeout=ATTENTION_SECONDS):
                    pass
            waiter.check()
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

        Raises:
            GlobalConcurrencyLimitError: The shared limit is missing or does not fit.
        """
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        waiter = _Waiter(partial(loop.call_soon_threadsafe, _resolve, turn))
        try:
            if not self._enter(waiter):
                await turn
            waiter.check()
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
            if self._waiters and self._timekeeper is None:
                timekeeper = threading.Thread(
                    # In the caller's context, which holds the settings of Prefect in force.
                    target=copy_context().run,
                    args=(self._keep_time,),
                    name="ruddr-request-budget",
                    daemon=True,
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
            try:
                if self._source and not self._source.take(
                    len(self._waiters), self._bucket.in_flight
                ):
                    return ATTENTION_SECONDS
            except GlobalConcurrencyLimitError as error:
                self._refuse_all(str(error))
                return None
            waiter, _ = self._waiters.popitem(last=False)
            self._bucket.start()
            waiter.admitted = True
            if not _called(waiter):
                self._bucket.withdraw()
        return None

    def _refuse_all(self, reason: str) -> None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            waiter.refusal = reason
            _called(waiter)

    def _look_again(self) -> None:
        with self._changed:
            self._changed.notify()

    def _keep_time(self) -> None:
        with self._changed:
            while True:
                wait = self._admit()
                if not self._waiters:
                    self._timekeeper = None
                    return
                self._clock.wait(self._changed, wait)


def _called(waiter: _Waiter) -> bool:
    try:
        waiter.call()
    except RuntimeError:  # its event loop was closed while it waited
        return False
    return True


def _resolve(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
