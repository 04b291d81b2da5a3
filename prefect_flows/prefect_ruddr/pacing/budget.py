"""Waiting until a request may be sent: from threads and event loops. Knows no HTTP, no Prefect."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.machine import machine_time
from prefect_ruddr.pacing.bucket import ANSWER_SECONDS, RETRY_SECONDS, Bucket, Place, State
from prefect_ruddr.pacing.keeping import Change, Keeper, Now, Warn

T = TypeVar("T")
Lease: TypeAlias = Callable[[int], tuple[int, float, float]]
"""Leases turns for so many or more; returns how many, not before when, and how many are left."""

ATTENTION_SECONDS = 1.0  # how often a thread looks up for what another raised in it: a timeout


class RequestBudget:
    """The requests that a workspace still allows.

    Each caller reserves a place and sleeps until its time has come: first come, first served, for
    threads, event loops and, where the state is in a file, all processes of the machine. A sync
    request on the thread of an event loop blocks that loop.

    Args:
        bucket: The vendor's limits.
        file: Where the state is; None for one of this process alone.
        lease: Leases turns, where the bucket is shared by several machines.
        now: The clock.
        warn: Where it is told that the file or the limit cannot be used.
    """

    def __init__(
        self,
        bucket: Bucket,
        file: Path | None = None,
        lease: Lease | None = None,
        *,
        now: Now = machine_time,
        warn: Warn = print,
    ) -> None:
        self._bucket, self._lease, self._warn = bucket, lease, warn
        self._keeper = Keeper(bucket, file, now, warn)
        self._lock = threading.Lock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Wait until a request may be sent; it is sent and answered inside."""
        place, wait = self._look()
        try:
            while wait:
                if wait < 0:
                    self._ask()
                else:
                    time.sleep(min(wait, ATTENTION_SECONDS))
                place, wait = self._look(place)
        except BaseException:
            self._give_back(place)
            raise
        yield

    @asynccontextmanager
    async def arequest(self) -> AsyncIterator[None]:
        """Async version of `request`."""
        place, wait = self._look()
        try:
            while wait:
                if wait < 0:
                    await asyncio.to_thread(self._ask)
                else:
                    await asyncio.sleep(wait)
                place, wait = self._look(place)
        except (Exception, asyncio.CancelledError):
            # Not where its loop was closed: the garbage collector may do that under the lock.
            self._give_back(place)
            raise
        yield

    def slow_down(self, seconds: float) -> None:
        """Let nobody on this machine send for so many seconds: the server said 429.

        Who waits already waits longer, and after that requests go on at the refill rate.
        """
        self._change(lambda s, now: (self._bucket.slow_down(s, now, seconds), None))

    def _change(self, change: Change[T]) -> T:
        with self._lock:
            return self._keeper.change(change)

    def _give_back(self, place: Place) -> None:
        self._change(lambda s, now: (self._bucket.give_back(s, now, place), None))

    def _look(self, held: Place | None = None) -> tuple[Place, float]:
        """Return the place, or another, and how long to wait: 0 to send, below 0 to lease turns."""
        bucket = self._bucket

        def judged(state: State, now: float) -> tuple[State, tuple[Place, float]]:
            place, wait = held, held and bucket.seconds_until(state, now, held)
            if place is None or wait is None:
                state, place = bucket.reserve(state, now)
                wait = bucket.seconds_until(state, now, place) or 0.0
            if (wait or state.alone) and now >= state.ask_at and bucket.wanted(state, now) > 0:
                # Nobody else asks while this caller does.
                return state._replace(ask_at=now + ANSWER_SECONDS), (place, -1.0)
            return state, (place, wait)

        return self._change(judged)

    def _ask(self) -> None:
        """Lease turns for all on this machine whose time has come."""
        wanted = self._change(lambda s, now: (s, max(1, self._bucket.wanted(s, now))))
        try:
            leased = self._lease(wanted) if self._lease else (0, 0.0, 0.0)
        except GlobalConcurrencyLimitError:
            self._change(lambda s, now: (s._replace(ask_at=now), None))
            raise
        except Exception as error:  # noqa: BLE001 - pacing alone beats failing the run
            later = RETRY_SECONDS
            if not self._change(lambda s, t: (s._replace(ask_at=t + later, alone=True), s.alone)):
                self._warn(
                    "The global concurrency limit cannot be used, so this machine paces itself"
                    f" alone; other machines may get 429 for it. {type(error).__name__}: {error}"
                )
        else:
            self._change(lambda s, now: (self._bucket.lease(s, now, *leased), None))
