"""The promise of the arithmetic: Ruddr's bucket refuses nothing that arrives within the lag."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr.pacing.bucket import (
    ASK_SECONDS,
    BURST,
    LAG_SECONDS,
    LATE_SECONDS,
    REQUESTS_PER_SECOND,
    RETRY_SECONDS,
    Bucket,
    Place,
    State,
)

START = 1000.0
"""No clock of a machine is at zero."""


class Ruddr:
    """The vendor's bucket, as the vendor sees it."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst

    def refused(self, arrivals: list[float]) -> int:
        """Return how many of the requests find no room."""
        level, last, refused = float(self.burst), START, 0
        for arrival in sorted(arrivals):
            level = min(self.burst, level + (arrival - last) * self.rate)
            last = arrival
            if level < 1 - 1e-6:
                refused += 1
            else:
                level -= 1
        return refused


@dataclasses.dataclass
class Machine:
    """Callers of one machine, and the places that they hold."""

    bucket: Bucket
    state: State = dataclasses.field(default_factory=lambda: State(START))
    waiting: list[Place] = dataclasses.field(default_factory=list)

    def reserve(self, now: float) -> None:
        """Let one more caller come."""
        self.state, place = self.bucket.reserve(self.state, now)
        self.waiting.append(place)

    def give_up(self, now: float, which: int) -> None:
        """Let one of those who wait leave."""
        if self.waiting:
            place = self.waiting.pop(which % len(self.waiting))
            self.state = self.bucket.give_back(self.state, now, place)

    def sent(self, now: float) -> int:
        """Let all go who may, those who are late reserve again; return how many went."""
        sent, waiting, self.waiting = 0, self.waiting, []
        for place in waiting:
            wait = self.bucket.seconds_until(self.state, now, place)
            if wait is None:
                self.reserve(now)
            elif wait:
                self.waiting.append(place)
            else:
                sent += 1
        return sent


extreme = st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1))
"""A share of what is allowed: mostly nothing or all of it, where arithmetic goes wrong."""

phases = st.tuples(
    st.integers(0, 80),  # callers that come
    st.lists(st.integers(0, 100), max_size=80),  # those who give up
    st.one_of(st.none(), st.none(), st.floats(0, 2)),  # how long a 429 asks to wait
    extreme,  # how late those who come now send, and how late they arrive
    extreme,
    st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 5)),  # the time that passes then
)


@given(
    happening=st.lists(phases, max_size=25),
    rate=st.sampled_from([3.0, 20.0]),
    slowness=st.sampled_from([0.0, 4e-4]),
)
def test_ruddr_refuses_nothing_that_arrives_within_the_lag(
    happening: list[tuple[int, list[int], float | None, float, float, float]],
    rate: float,
    slowness: float,
) -> None:
    """Whoever comes, gives up, looks late or is told to slow down, and if its clock is slower."""
    bucket, state, now = Bucket(rate, 60), State(START), START
    holders: dict[Place, tuple[float, float]] = {}
    arrivals: list[float] = []

    def look(until: float) -> None:
        """Let all look at their places late as they are, in order of time, until a time."""
        nonlocal state
        while holders:
            looks = {place: place.at + state.delay + late for place, (late, _) in holders.items()}
            place = min(looks, key=looks.__getitem__)
            at = max(looks[place], state.closed_until)
            if at > until:
                return
            late, way = holders.pop(place)
            if bucket.seconds_until(state, at, place) is None:
                state, place = bucket.reserve(state, at)
                holders[place] = late, way
            else:
                arrivals.append(at + way)

    for callers, leaving, refused_for, late, way, pause in happening:
        for _ in range(callers):
            state, place = bucket.reserve(state, now)
            holders[place] = late * (LATE_SECONDS - 1e-6), way * (LAG_SECONDS - LATE_SECONDS)
        for which in leaving:
            if holders:
                place = list(holders)[which % len(holders)]
                del holders[place]
                state = bucket.give_back(state, now, place)
        if refused_for is not None:
            state = bucket.slow_down(state, now, refused_for)
        now += pause
        look(now)
    look(now + 10_000)

    assert Ruddr(rate * (1 - slowness), 60).refused(arrivals) == 0


def test_500_requests_take_the_lag_longer_than_the_ideal_time() -> None:
    """The last goes after (500 - 60) / 20 s and 0.4 s."""
    machine = Machine(Bucket())
    for _ in range(500):
        machine.reserve(START)

    assert machine.waiting[-1].at - START == pytest.approx(22.4, rel=1e-3)


def test_places_come_in_the_order_of_the_reservations() -> None:
    """Nobody is passed."""
    machine = Machine(Bucket(20.0, 60))
    for _ in range(200):
        machine.reserve(START)

    times = [place.at for place in machine.waiting]
    assert times == sorted(times)
    assert [place.number for place in machine.waiting] == list(range(1, 201))


@given(leaving=st.permutations(range(30)))
def test_when_all_give_up_it_is_as_if_they_had_never_come(leaving: list[int]) -> None:
    """In whatever order they do."""
    machine = Machine(Bucket(1.0, 1))
    machine.reserve(START)
    machine.sent(START)
    before = machine.state
    for _ in range(30):
        machine.reserve(START)
    places = list(machine.waiting)

    for which in leaving:
        machine.state = machine.bucket.give_back(machine.state, START, places[which])

    assert machine.state.places == before.places
    assert machine.state.full_at == pytest.approx(before.full_at)
    assert machine.state.free == ()


def test_the_place_of_one_who_gave_up_is_the_next_callers() -> None:
    """And nobody else waits longer."""
    machine = Machine(Bucket(1.0, 1))
    for _ in range(5):
        machine.reserve(START)
    given_back = machine.waiting[2]

    machine.give_up(START, 2)
    machine.reserve(START)
    machine.reserve(START)

    assert machine.waiting[-2].at == pytest.approx(given_back.at, abs=0.01)
    assert machine.waiting[-1].at == pytest.approx(START + 5, abs=0.01)


def test_a_place_whose_time_has_come_is_not_given_back() -> None:
    """Its request may have been sent."""
    machine = Machine(Bucket(1.0, 1))
    machine.reserve(START)
    machine.reserve(START)

    state = machine.bucket.give_back(machine.state, START + 1.5, machine.waiting[1])

    assert state.full_at == machine.state.full_at


def test_whoever_looks_too_late_reserves_again() -> None:
    """A machine that was suspended does not send at once what it had reserved before."""
    machine = Machine(Bucket(1.0, 60))
    machine.reserve(START)
    [place] = machine.waiting

    assert machine.bucket.seconds_until(machine.state, START + LATE_SECONDS, place) == 0
    assert machine.bucket.seconds_until(machine.state, START + 3600, place) is None


def test_a_429_delays_those_who_wait_and_empties_the_bucket() -> None:
    """By as long as it says; after that one request per refill goes."""
    machine = Machine(Bucket(1.0, 1))
    for _ in range(3):
        machine.reserve(START)
    machine.sent(START)

    machine.state = machine.bucket.slow_down(machine.state, START + 0.5, 10)

    waits = [machine.bucket.seconds_until(machine.state, START, p) for p in machine.waiting]
    assert waits == pytest.approx([11, 12], rel=1e-3)
    machine.reserve(START + 0.5)
    wait = machine.bucket.seconds_until(machine.state, START, machine.waiting[-1])
    assert wait == pytest.approx(13, rel=1e-3)


def test_several_429s_at_once_are_one() -> None:
    """A longer one counts; a shorter or equal one adds nothing."""
    bucket = Bucket(1.0, 60)
    once = bucket.slow_down(State(START), START, 10)

    assert bucket.slow_down(once, START, 10) == once
    assert bucket.slow_down(once, START + 1, 2) == once
    assert bucket.slow_down(once, START + 1, 20).closed_until == START + 21


def test_a_state_that_began_anew_makes_its_places_void() -> None:
    """As when somebody removed the file."""
    machine = Machine(Bucket(20.0, 60))
    machine.reserve(START)

    assert machine.bucket.seconds_until(State(START), START, machine.waiting[0]) is None


@pytest.mark.parametrize(
    ("burst", "size"),
    [(60, 52), (10, 5), (1, 1)],
    ids=["Ruddr's: less 0.4 s", "a small one: half", "no burst: one request must fit"],
)
def test_the_bucket_is_a_little_smaller_than_the_vendors(burst: int, size: float) -> None:
    """By what refills in the lag."""
    assert Bucket(20.0, burst).size == size


def test_the_documented_limits_are_the_default() -> None:
    """20 requests a second, bursts of 60."""
    assert (
        (Bucket().requests_per_second, Bucket().burst) == (REQUESTS_PER_SECOND, BURST) == (20, 60)
    )


class Limit:
    """The limit in Prefect that machines share: it is debited by leases."""

    def __init__(self, bucket: Bucket) -> None:
        self.size, self.rate = bucket.size, bucket.requests_per_second
        self.used, self.as_of = 0.0, START

    def lease(self, wanted: int, now: float) -> tuple[int, float]:
        """Return how many turns are given, and how many are left."""
        self.used = max(0.0, self.used - (now - self.as_of) * self.rate)
        self.as_of = now
        turns = min(wanted, int(self.size - self.used))
        self.used += turns
        return turns, self.size - self.used


machine_phases = st.tuples(
    st.integers(0, 1),  # which machine
    st.integers(0, 60),  # callers that come
    st.one_of(st.just(0.0), st.floats(0, 1.5)),  # how long the answer of Prefect takes
    st.one_of(st.just(0.0), st.floats(0, 2)),  # how long after it they look
    extreme,  # how late they arrive
    st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 5)),  # the time that passes then
)


@given(happening=st.lists(machine_phases, max_size=25))
def test_machines_that_share_a_limit_are_not_refused(
    happening: list[tuple[int, int, float, float, float, float]],
) -> None:
    """However late the turns of a lease reach their machine, and are found there."""
    bucket = Bucket(20.0, 60, shared=True)
    machines, limit = [Machine(bucket), Machine(bucket)], Limit(bucket)
    order = count()
    to_come: list[tuple[float, int, Callable[[float], None]]] = []
    arrivals: list[float] = []

    def answer(machine: Machine, leased: tuple[int, float, float], now: float) -> None:
        machine.state = bucket.lease(machine.state, now, *leased)

    def look(machine: Machine, way: float, now: float) -> None:
        arrivals.extend([now + way] * machine.sent(now))

    now = START
    for which, callers, latency, later, way, pause in happening:
        machine = machines[which]
        for _ in range(callers):
            machine.reserve(now)
        turns, left = limit.lease(max(1, bucket.wanted(machine.state, now) + 5), now)
        answered, looked = now + latency, now + latency + later
        leased = turns, now, left
        to_come.append((answered, next(order), partial(answer, machine, leased)))
        arriving = way * (LAG_SECONDS - LATE_SECONDS)
        to_come.append((looked, next(order), partial(look, machine, arriving)))
        now += pause
        to_come.sort(reverse=True, key=lambda event: event[:2])
        while to_come and to_come[-1][0] <= now:
            at, _, happen = to_come.pop()
            happen(at)

    assert Ruddr(20.0, 60).refused(arrivals) == 0


def shared_with_waiting(callers: int) -> Machine:
    machine = Machine(Bucket(20.0, 60, shared=True))
    for _ in range(callers):
        machine.reserve(START)
    return machine


def test_turns_go_to_places_in_their_order() -> None:
    """Who reserved first is served first, whichever process leased them."""
    machine = shared_with_waiting(10)

    machine.state = machine.bucket.lease(machine.state, START, 4, START, 0)

    assert machine.sent(START) == 4
    assert [place.number for place in machine.waiting] == [5, 6, 7, 8, 9, 10]
    assert machine.bucket.wanted(machine.state, START) == 6


def test_turns_are_asked_for_only_when_places_are_due() -> None:
    """Turns for a place that waits for its time would end unused."""
    assert shared_with_waiting(200).bucket.wanted(shared_with_waiting(200).state, START) == 52


def test_a_lease_that_comes_late_melts_as_the_limit_refills() -> None:
    """Of ten turns of a full limit that come after 0.56 s, the first 0.26 s' worth are lost."""
    machine = shared_with_waiting(10)

    machine.state = machine.bucket.lease(machine.state, START + 0.56, 10, START, 42)

    assert machine.state.leased == 4


def test_turns_of_a_limit_that_is_nearly_empty_last_longer() -> None:
    """So a Prefect server that is slow does not waste what it gives."""
    machine = shared_with_waiting(10)

    machine.state = machine.bucket.lease(machine.state, START + 2, 10, START, 0)

    assert machine.state.leased == 10


def test_turns_that_nobody_took_end() -> None:
    """The next caller waits for a new one."""
    machine = shared_with_waiting(1)
    machine.state = machine.bucket.lease(machine.state, START, 6, START, 46)
    assert machine.sent(START) == 1

    machine.reserve(START + 0.1)
    assert machine.sent(START + 0.1) == 1
    machine.reserve(START + 10)
    assert machine.sent(START + 10) == 0
    assert machine.bucket.wanted(machine.state, START + 10) == 1


def test_an_exhausted_limit_is_asked_now_and_then() -> None:
    """One with turns left may be asked at once."""
    machine = shared_with_waiting(20)

    assert machine.bucket.lease(machine.state, START, 5, START, 0.9).ask_at == START + ASK_SECONDS
    assert machine.bucket.lease(machine.state, START, 5, START, 1.0).ask_at == START


def test_places_that_were_used_alone_get_no_turns_afterwards() -> None:
    """When the limit can be used again its turns are for those who come then."""
    machine = shared_with_waiting(500)
    machine.state = machine.state._replace(alone=True, ask_at=START + RETRY_SECONDS)

    machine.state = machine.bucket.lease(machine.state, START, 5, START, 40)

    assert not machine.state.alone
    assert machine.bucket.wanted(machine.state, START) <= 0
