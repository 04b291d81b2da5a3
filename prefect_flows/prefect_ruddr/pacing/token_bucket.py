"""The arithmetic of the request budget: pure, without a clock or a lock."""

from __future__ import annotations

CLOCK_TOLERANCE = 5e-4
"""How much slower than ours the server's clock may run: NTP slews by at most 500 ppm."""


class TokenBucket:
    """A token bucket that is debited when a request completes.

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
