"""How long a leased turn may be used, and how much room a limit has: arithmetic, no I/O.

Prefect debits a lease when it grants it, the vendor debits a request when it arrives. What lies
between the two is the lag, and this module keeps it harmless.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prefect_ruddr.pacing.prefect_limit import LAG_SECONDS, Limit

SEND_SECONDS = 0.1
"""The part of the lag that is left for a request whose turn was taken to arrive."""

FRESH_SECONDS = 0.05
"""How long a reading of the limit is certain while others draw on it."""

CROWD_SECONDS = 5.0
"""How long others who drew on the limit are reckoned with, after they were last seen."""

READ_AGAIN_SECONDS = 30.0
"""How long a reading of the limit is trusted when nobody else was seen."""


def ends_of_turns(turns: int, leased_at: float, requests_per_second: float) -> list[float]:
    """Return until when each turn of a lease may be taken, in the order they are to be taken.

    The first lasts what the lag allows, and each further one as much longer as one request takes
    to refill. So a lease that reaches its process late melts, and is not lost as a whole.

    Proof that the vendor's bucket allows it: let no window of `t` seconds see more than
    `size + rate * t` requests leased, with `size + rate * lag` in the bucket. Requests that arrive
    in a window were leased in the same window or up to `lag` before it, or up to `e` before that.
    Of the earliest such lease the first `rate * e` turns had ended, or had been used, before the
    window began: just what `e` seconds more can have leased.

    Args:
        turns: How many turns were leased.
        leased_at: A time before which they were not leased, in seconds.
        requests_per_second: The vendor's refill, in requests per second.
    """
    first = leased_at + LAG_SECONDS - SEND_SECONDS
    return [first + turn / requests_per_second for turn in range(turns)]


class Room:
    """The requests that a limit has room for, reckoned from when it was last read.

    Args:
        read: Reads the limit.
        requests_per_second: Its refill, in requests per second.
        clock: Where the time comes from.

    Attributes:
        limit: The limit, as it was last read.
    """

    def __init__(
        self,
        read: Callable[[], Limit],
        requests_per_second: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._rate = requests_per_second
        self._clock = clock
        self._others_seen_at: float | None = None
        self._room = 0.0
        self._read_at = self._as_of = clock()
        self.limit = self._take_down(read())

    def now(self) -> float:
        """Return the requests there is room for, if nobody else has drawn since."""
        now = self._clock()
        self._room = min(self.limit.size, self._room + (now - self._as_of) * self._rate)
        self._as_of = now
        return self._room

    def take(self, requests: int) -> None:
        """Reckon with a lease that was granted."""
        if self._room == self.limit.size:
            self.now()  # a full limit refills only once it has been drawn on
        self._room -= requests

    def look(self) -> None:
        """Read the limit again, and note whether others draw on it."""
        reckoned = self.now()
        self.limit = self._take_down(self._read())
        if self._room < reckoned - 1:
            self._others_seen_at = self._read_at

    def is_crowded(self) -> bool:
        """Whether others drew on the limit lately."""
        seen = self._others_seen_at
        return seen is not None and self._clock() - seen < CROWD_SECONDS

    def is_certain(self) -> bool:
        """Whether what is reckoned can be relied on: nobody else draws, or it was just read."""
        certain = FRESH_SECONDS if self.is_crowded() else READ_AGAIN_SECONDS
        return self._clock() - self._read_at < certain

    def _take_down(self, limit: Limit) -> Limit:
        self._room = limit.room
        self._read_at = self._as_of = self._clock()
        return limit
