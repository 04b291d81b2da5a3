"""The request limit of a workspace: a token bucket."""

from __future__ import annotations

import time
from collections.abc import Callable

RATE, BURST = 20.0, 60
"""Requests a second, and at once after a pause, as Ruddr documents them."""


class TokenBucket:
    """A bucket that starts full and gives one token to each request.

    Args:
        rate: Tokens that flow back each second; None for no limit at all.
        burst: Tokens the full bucket holds.
        clock: Tells the time in seconds, from any start, never backwards.

    Attributes:
        refused: How many requests found the bucket empty.
    """

    def __init__(
        self,
        rate: float | None,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate is not None and not 0 < rate < float("inf"):
            raise ValueError(f"the rate must be above 0 requests a second, not {rate}")
        if burst < 1:
            raise ValueError(f"the burst must be at least 1 request, not {burst}")
        self.refused = 0
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take a token; return False, and count a refusal, when there is none."""
        if self._rate is None:
            return True
        now = self._clock()
        refill = (now - self._filled_at) * self._rate
        self._tokens = min(float(self._burst), self._tokens + refill)
        self._filled_at = now
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True
