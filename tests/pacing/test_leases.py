"""How long a lease lasts, judged by the vendor's bucket, and what a limit is reckoned to hold."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from prefect_ruddr.pacing.leases import (
    CROWD_SECONDS,
    FRESH_SECONDS,
    READ_AGAIN_SECONDS,
    SEND_SECONDS,
    Room,
    ends_of_turns,
)
from prefect_ruddr.pacing.prefect_limit import Limit, fitting_size

RATE, BURST = 20.0, 60
SIZE = fitting_size(RATE, BURST)[0] / 100

seconds = st.floats(0, 3)


@st.composite
def leases(draw: st.DrawFn) -> list[tuple[float, float, int, list[tuple[float, float]]]]:
    """Leases in the order Prefect grants them.

    Each is the time since the one before, since it was asked for, how many turns it has, and for
    each of these how long after the one before it would be taken, and how long it then travels.
    """
    turn = st.tuples(
        st.one_of(st.just(0.0), seconds), st.one_of(st.just(0.0), st.floats(0, SEND_SECONDS))
    )
    lease = st.integers(1, 52).flatmap(
        lambda turns: st.tuples(
            st.one_of(st.just(0.0), seconds),
            seconds,
            st.just(turns),
            st.lists(turn, min_size=turns, max_size=turns),
        )
    )
    return draw(st.lists(lease, max_size=12))


@given(leases())
@example([(0.0, 0.0, 52, [(0.0, 0.0)] * 52), (1.0, 0.0, 20, [(0.0, 0.0)] * 20)])
@example([(0.0, 0.0, 52, [(0.9, 0.1), *[(0.0, 0.1)] * 51]), (2.6, 0.0, 52, [(0.0, 0.0)] * 52)])
def test_the_vendor_refuses_no_turn_that_is_taken_before_its_end(
    granted: list[tuple[float, float, int, list[tuple[float, float]]]],
) -> None:
    """However late a lease reaches its process, and whichever process it is."""
    arrivals: list[float] = []
    used, as_of = 0.0, 0.0
    for since_last, since_asked, turns, uses in granted:
        now = as_of + since_last
        decayed = max(0.0, used - since_last * RATE)
        if decayed + turns > SIZE:
            continue
        used, as_of = decayed + turns, now
        taken_at = now
        ends = ends_of_turns(turns, now - since_asked, RATE)
        for end, (later, travels) in zip(ends, uses, strict=True):
            taken_at += later
            if taken_at < end:
                arrivals.append(taken_at + travels)

    level, before = float(BURST), 0.0
    for arrival in sorted(arrivals):
        level = min(BURST, level + (arrival - before) * RATE) - 1
        before = arrival
        assert level >= -1e-6


def test_a_lease_that_comes_late_melts_as_the_limit_refills() -> None:
    """Of ten turns that reach their process after 0.56 s, the first 0.26 s' worth are lost."""
    ends = ends_of_turns(10, 100.0, RATE)

    assert sum(end > 100.56 for end in ends) == 4
    assert sum(end > 100.25 for end in ends) == 10


class Reading:
    """A limit of fifty requests, a clock, and how often the limit was read."""

    def __init__(self, room: float = 50.0) -> None:
        self.room = room
        self.time = 0.0
        self.times = 0

    def read(self) -> Limit:
        """Read the limit."""
        self.times += 1
        return Limit(100, 50.0, self.room)

    def clock(self) -> float:
        """Return the time."""
        return self.time


def test_room_is_reckoned_without_reading_again() -> None:
    """It refills at the rate, up to the size of the limit, and a lease takes from it."""
    reading = Reading()
    room = Room(reading.read, RATE, reading.clock)

    reading.time = 60.0
    room.take(30)
    assert room.now() == 20
    reading.time = 61.0
    assert room.now() == 40
    reading.time = 70.0
    assert (room.now(), reading.times) == (50, 1)


def test_a_process_alone_reads_the_limit_seldom() -> None:
    """What nobody else draws on is as it was reckoned."""
    reading = Reading()
    room = Room(reading.read, RATE, reading.clock)

    reading.time = READ_AGAIN_SECONDS - 1
    assert room.is_certain()
    reading.time = READ_AGAIN_SECONDS
    assert not room.is_certain()
    room.look()
    assert room.is_certain()
    assert not room.is_crowded()


def test_in_a_crowd_only_what_was_just_read_is_certain() -> None:
    """Somebody who draws now draws again, until for a while nobody did."""
    reading = Reading()
    room = Room(reading.read, RATE, reading.clock)

    reading.room = 40.0
    room.look()
    assert room.is_crowded()
    assert room.is_certain()
    reading.time = FRESH_SECONDS
    assert not room.is_certain()
    reading.time = CROWD_SECONDS
    assert room.is_certain()
    assert not room.is_crowded()
