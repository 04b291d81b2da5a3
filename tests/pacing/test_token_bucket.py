"""The bucket's promise, for any latency: the server never refuses, and little time is lost."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr.pacing.token_bucket import TokenBucket

ARRIVES, COMPLETES = "arrives", "completes"


class Trip(NamedTuple):
    """A request: the pause of its caller before it, its latency, where in it it arrives."""

    pause: float
    latency: float
    arrival: float


TRIPS = st.lists(
    st.builds(
        Trip,
        pause=st.one_of(st.just(0.0), st.floats(0, 3)),
        latency=st.one_of(st.just(0.0), st.floats(0, 5)),
        arrival=st.floats(0, 1),
    ),
    min_size=1,
    max_size=150,
)


class Server:
    """The vendor's bucket, as the vendor sees it."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self.level = float(burst)
        self.last = 0.0
        self.refused = 0

    def request(self, now: float) -> None:
        """Debit one request, or refuse it."""
        self.level = min(self.burst, self.level + (now - self.last) * self.rate)
        self.last = now
        if self.level >= 1:
            self.level -= 1
        else:
            self.refused += 1


def simulate(bucket: TokenBucket, server: Server, trips: Sequence[Trip]) -> float:
    """Send every trip as early as the bucket allows; return when the last one completed."""
    order = count()
    events: list[tuple[float, int, str]] = []
    now = 0.0

    def happen(until: float) -> None:
        while events and events[0][0] <= until:
            at, _, what = heapq.heappop(events)
            if what == ARRIVES:
                server.request(at)
            else:
                bucket.complete(at)

    for trip in trips:
        now += trip.pause
        happen(now)
        while (wait := bucket.seconds_until_next(now)) is None or wait > 0:
            now = events[0][0] if wait is None else max(now + wait, now + 1e-9)
            happen(now)
        bucket.start()
        heapq.heappush(events, (now + trip.latency * trip.arrival, next(order), ARRIVES))
        heapq.heappush(events, (now + trip.latency, next(order), COMPLETES))
    last = max(event[0] for event in events)
    happen(last)
    return last


@given(
    trips=TRIPS,
    rate=st.sampled_from([0.5, 3.0, 20.0, 1000.0]),
    burst=st.integers(1, 80),
    slowness=st.sampled_from([0.0, 4e-4]),
)
def test_the_server_never_refuses(
    trips: list[Trip], rate: float, burst: int, slowness: float
) -> None:
    """Whatever the latencies, and with a server's clock that runs 400 ppm behind ours."""
    server = Server(rate * (1 - slowness), burst)

    simulate(TokenBucket(rate, burst, 0.0), server, trips)

    assert server.refused == 0


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.25])
def test_500_requests_take_little_more_than_the_ideal_time(latency: float) -> None:
    """Beyond (500 - 60) / 20 s, one latency for the full bucket and one for the last answer."""
    trips = [Trip(0.0, latency, 0.5)] * 500

    seconds = simulate(TokenBucket(20.0, 60, 0.0), Server(20.0, 60), trips)

    assert 22.0 <= seconds <= 22.0 * 1.001 + 2 * latency


def test_requests_in_flight_are_bounded_by_the_bucket() -> None:
    """The next one waits for a completion, however much time passes."""
    bucket = TokenBucket(20.0, 2, 0.0)
    bucket.start()
    bucket.start()

    assert bucket.seconds_until_next(1000.0) is None

    bucket.complete(1000.0)

    assert bucket.seconds_until_next(1000.0) == pytest.approx(0.05, rel=1e-3)


def test_a_start_taken_back_costs_nothing() -> None:
    """The request that was not sent leaves its place to the next."""
    bucket = TokenBucket(1.0, 1, 0.0)
    bucket.start()

    bucket.withdraw()

    assert bucket.seconds_until_next(0.0) == 0.0


def test_a_paused_bucket_goes_on_at_the_refill_rate() -> None:
    """After the pause one request a second, in spite of the full bucket before it."""
    bucket = TokenBucket(1.0, 60, 0.0)

    bucket.pause(0.0, 10.0)

    assert bucket.seconds_until_next(0.0) == pytest.approx(11.0, rel=1e-3)
    assert bucket.seconds_until_next(11.1) == 0.0
    bucket.start()
    assert bucket.seconds_until_next(11.1) == pytest.approx(0.9, rel=1e-2)


def test_a_shorter_pause_leaves_a_longer_one_as_it_is() -> None:
    """Several requests may be refused, each with its own wait."""
    bucket = TokenBucket(1.0, 60, 0.0)

    bucket.pause(0.0, 10.0)
    bucket.pause(1.0, 2.0)

    assert bucket.seconds_until_next(1.0) == pytest.approx(10.0, rel=1e-3)


def test_a_completion_during_a_pause_opens_nothing() -> None:
    """The answers that were on their way arrive; nobody goes before the pause ends."""
    bucket = TokenBucket(1.0, 60, 0.0)
    bucket.start()

    bucket.pause(0.0, 10.0)
    bucket.complete(5.0)

    assert bucket.seconds_until_next(5.0) == pytest.approx(6.0, rel=1e-3)


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 60), (-1.0, 60), (20.0, 0)])
def test_a_bucket_that_would_never_let_anything_pass_is_refused(rate: float, burst: int) -> None:
    """It would be a run that hangs."""
    with pytest.raises(ValueError, match="must be"):
        TokenBucket(rate, burst, 0.0)
