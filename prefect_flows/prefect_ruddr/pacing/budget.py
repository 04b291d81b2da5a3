"""Waiting for the turn to send a request: from threads and event loops.

Knows time, threads and event loops; knows neither HTTP nor Prefect.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.pacing.bucket import ANSWER_SECONDS, Bucket, Place, State
from prefect_ruddr.pacing.keeping import Change, Keeper, machine_time

T = TypeVar("T")

ATTENTION_SECONDS = 1.0
"""How often a waiting thread looks up for an exception that another thread raised in it, as
Prefect's timeouts do."""

Lease: TypeAlias = Callable[[int, int], tuple[int, float, float]]
"""Leases turns for so many who wait and, where there is plenty, for so many more. Returns how many
it got, a time before which it had not, and how many the limit has left."""


class _Caller:
    """One who waits; `move` makes it look at its place again, from any thread."""

    def __init__(self, move: Callable[[], object]) -> None:
        self.move = move
        self.is_moved = False


class RequestBudget:
    """The requests that a workspace still allows.

    Each caller reserves a place and sleeps until its time has come: first come, first served, for
    threads, event loops and, where the state is in a file, all processes of the machine. A sync
    request made on the thread of an event loop blocks that loop, as all blocking does.

    Args:
        bucket: The vendor's limits.
        file: Where the state is; None for one of this process alone.
        lease: Leases turns from the limit that several machines share, if the bucket is shared.
        now: The clock.
        warn: Where it is told that the file or the limit cannot be used.

    Example:
        ```python
        budget = RequestBudget(Bucket(requests_per_second=20, burst=60))
        with budget.request():
            print("one request is sent and answered here")
        ```
    """

    def __init__(
        self,
        bucket: Bucket,
        file: Path | None = None,
        lease: Lease | None = None,
        *,
        now: Callable[[], float] = machine_time,
        warn: Callable[[str], None] = print,
    ) -> None:
        self._bucket = bucket
        self._keeper = Keeper(bucket, file, now, warn)
        self._lease = lease
        self._now = now
        self._warn = warn
        self._lock = threading.Lock()
        self._line: dict[_Caller, Place] = {}

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait until a request may be sent; it is sent and answered inside.

        Raises:
            GlobalConcurrencyLimitError: The shared limit is missing or does not fit.
        """
        moved = threading.Event()
        caller = _Caller(moved.set)
        try:
            while wait := self._seconds_to_wait(caller):
                if wait < 0:
                    self._ask()
                else:
                    moved.wait(min(wait, ATTENTION_SECONDS))
                    moved.clear()
        finally:
            self._leave(caller)
        yield

    @asynccontextmanager
    async def arequest(self) -> AsyncIterator[None]:
        """Async version of `request`."""
        moved = asyncio.Event()
        loop = asyncio.get_running_loop()
        caller = _Caller(partial(loop.call_soon_threadsafe, moved.set))
        try:
            while wait := self._seconds_to_wait(caller):
                if wait < 0:
                    await asyncio.to_thread(self._ask)
                else:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait):
                            await moved.wait()
                    moved.clear()
        except GeneratorExit:
            # The event loop was closed. The garbage collector may do this where the lock is held.
            self._line.pop(caller, None)
            raise
        finally:
            self._leave(caller)
        yield

    def slow_down(self, seconds: float) -> None:
        """Let nobody on this machine send for so many seconds: the server said 429.

        Who waits already waits longer, and after that requests go on at the refill rate.
        """
        self._change(lambda s, now: (self._bucket.slow_down(s, now, seconds), None))

    def _change(self, change: Change[T]) -> T:
        with self._lock:
            return self._keeper.change(change)

    def _seconds_to_wait(self, caller: _Caller) -> float:
        """Return 0 where a caller may send, and has used its place; below 0 where it is to ask."""
        with self._lock:
            caller.is_moved = False
            place, wait = self._keeper.change(partial(self._judged, self._line.get(caller)))
            if not wait or self._line.get(caller) is not place:
                self._line.pop(caller, None)
            if wait:
                self._line[caller] = place
            return wait

    def _judged(
        self, place: Place | None, state: State, now: float
    ) -> tuple[State, tuple[Place, float]]:
        wait = None if place is None else self._bucket.seconds_until(state, place, now)
        if place is None or wait is None:
            state, place = self._bucket.reserve(state, now)
            wait = self._bucket.seconds_until(state, place, now) or 0.0
        if (wait or state.alone) and now >= state.ask_at and self._bucket.wanted(state, now) > 0:
            # Nobody else asks while this caller does.
            return state._replace(ask_at=now + ANSWER_SECONDS), (place, -1.0)
        return state, (place, wait)

    def _leave(self, caller: _Caller) -> None:
        """Give the place of a caller that gave up to the next in this process, and so on."""
        if caller not in self._line:
            return
        with self._lock:
            callers = list(self._line)
            behind = callers[callers.index(caller) + 1 :]
            free = self._line.pop(caller)
            until = partial(self._bucket.seconds_until, place=free)
            if self._keeper.change(lambda s, now: (s, until(s, now=now))) is None:
                return
            for following in behind:
                self._line[following], free = free, self._line[following]
                if not following.is_moved:
                    following.is_moved = True
                    with suppress(RuntimeError):  # its event loop was closed while it waited
                        following.move()
        self._change(lambda s, now: (self._bucket.give_back(s, now, free), None))

    def _ask(self) -> None:
        """Lease turns for all on this machine whose time has come."""
        if self._lease is None:
            return
        wanted = self._change(lambda s, now: (s, max(1, self._bucket.wanted(s, now))))
        try:
            turns, at, left = self._lease(wanted, self._bucket.ahead)
        except GlobalConcurrencyLimitError:
            self._change(lambda s, now: (s._replace(ask_at=now), None))
            raise
        except Exception as error:  # noqa: BLE001 - pacing alone beats failing the run
            if self._change(self._bucket.go_alone):
                self._warn(
                    "The global concurrency limit cannot be used, so this machine paces itself"
                    f" alone; other machines may get 429 for it. {type(error).__name__}: {error}"
                )
        else:
            self._change(lambda s, now: (self._bucket.lease(s, now, turns, at, left), None))
