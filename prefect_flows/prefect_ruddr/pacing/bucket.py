"""The arithmetic of the request budget: pure, without a clock, a lock or a file.

A caller *reserves* a place: its request is debited at once, the level may go below zero, and the
place says from when on the request may be sent. Who reserves first sends first.

Proof that Ruddr's bucket of `burst` requests refuses none of them: ours is smaller by what refills
in `LAG_SECONDS`, and a request arrives at most that long after the time of its place. So what
arrives within `t` seconds has its places within `t + lag`, and these are at most
`burst - rate * lag + rate * (t + lag) = burst + rate * t`. It costs the lag, once.

Where machines share a limit, places also need *turns* from it, in the order of their numbers. The
limit is as small, and a lease debits it. If it had room for `room` requests before a turn, at most
`room + rate * (lag + t)` are leased until `t` seconds after the turn is used, `lag` after its
lease. So a turn may be used for as long as the lag allows, and longer where the limit was emptier:
for `(burst - room) / rate` seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

REQUESTS_PER_SECOND, BURST = 20.0, 60  # a workspace's bucket, as Ruddr documents it
LAG_SECONDS = 0.4  # how long after its place, or its lease, a request may arrive at Ruddr
LATE_SECONDS = 0.3  # how long after that it may be sent; the rest of the lag is its way
CLOCK_TOLERANCE = 5e-4  # how much slower Ruddr's clock may run: NTP slews by at most 500 ppm
LOOK_SECONDS = 0.05  # how often those who wait for a turn look whether they have one
ASK_SECONDS = 0.25  # how often a limit that has no turns left is asked again
ANSWER_SECONDS = 5.0  # how long Prefect may take to answer
MOST_FREE = 1000  # places that were given back and are remembered
RETRY_SECONDS = 30.0  # when what could not be used is tried again


class Place(NamedTuple):
    """One reserved request: from when on it may be sent if there were no delay, and its number."""

    at: float
    number: int


class State(NamedTuple):
    """What a budget remembers. Times are in seconds of one clock; places are given by number."""

    full_at: float  # when the bucket is full again, which tells its level
    closed_until: float = 0.0  # nobody sends before
    delay: float = 0.0  # by how much all places have been delayed so far
    places: int = 0  # the last that was reserved
    leased: int = 0  # the last that was given a turn
    ended: int = 0  # the last whose turn has surely ended
    lease_until: float = 0.0  # when the turn of `leased` ends
    ask_at: float = 0.0  # when to ask for turns again
    alone: bool = False  # whether turns cannot be had, and are not needed
    free: tuple[int, ...] = ()  # places that were given back


@dataclass(frozen=True)
class Bucket:
    """The vendor's bucket of `burst` requests, made a little smaller, whose places are reserved.

    Where it is `shared`, places need turns of a limit that several machines share.
    """

    requests_per_second: float = REQUESTS_PER_SECOND
    burst: int = BURST
    shared: bool = False

    @property
    def size(self) -> float:
        """The vendor's bucket less what refills in the lag, or half of a small bucket."""
        return max(1.0, self.burst - min(LAG_SECONDS * self.requests_per_second, self.burst / 2))

    @property
    def interval(self) -> float:
        """The seconds in which one request refills."""
        return 1 / (self.requests_per_second * (1 - CLOCK_TOLERANCE))

    def emptied(self, at: float) -> State:
        """Return the state of a bucket that is empty at a time."""
        return State(full_at=at + self.size * self.interval)

    def reserve(self, state: State, now: float) -> tuple[State, Place]:
        """Debit one request and return its place: one that was given back, or the next."""
        if free := self._free(state, now):
            number = min(free)
            state = state._replace(free=tuple(free - {number}))
            return state, Place(self._time_of(state, number) - state.delay, number)
        # Turns that nobody took and that have ended are passed over.
        usable = math.ceil(state.leased - (state.lease_until - now) / self.interval)
        number = max(state.places + 1, min(usable, state.leased + 1))
        full_at = max(state.full_at, now) + self.interval
        state = state._replace(full_at=full_at, places=number, free=())
        return state, Place(max(now, self._time_of(state, number)) - state.delay, number)

    def seconds_until(self, state: State, now: float, place: Place) -> float | None:
        """Return how long the holder of a place has to wait, 0 where it may send.

        None: the place was not used in time, or the state began anew. Another is to be reserved.
        """
        at = place.at + state.delay
        wait = max(0.0, at - now, state.closed_until - now)
        if not self.shared or state.alone:
            is_lost = now > at + LATE_SECONDS
        else:
            behind = state.leased - place.number
            ends = state.lease_until - behind * self.interval
            is_lost = place.number <= state.ended or (behind >= 0 and now > ends)
            wait = max(wait, LOOK_SECONDS if behind < 0 else 0.0)
        return None if is_lost or place.number > state.places else wait

    def give_back(self, state: State, now: float, place: Place) -> State:
        """Undo a reservation whose time has not come: somebody else may have the place."""
        free = self._free(state._replace(free=(*state.free, place.number)), now)
        full_at, places = state.full_at, state.places
        while places in free and places > state.leased:
            free.remove(places)
            full_at, places = full_at - self.interval, places - 1
        full_at = max(full_at, self.emptied(state.closed_until).full_at)
        return state._replace(full_at=full_at, places=places, free=tuple(free)[:MOST_FREE])

    def slow_down(self, state: State, now: float, seconds: float) -> State:
        """Empty the bucket, refill it only once `seconds` have passed, and delay all places."""
        until = max(state.closed_until, now + seconds)
        delay = until - max(state.closed_until, now)
        full_at = max(state.full_at + delay, self.emptied(until).full_at)
        state = state._replace(full_at=full_at, closed_until=until, delay=state.delay + delay)
        # Those who wait for turns reserve again, as the times of their places are past.
        ended = state.places if self.shared else 0
        return state._replace(free=(), leased=ended, ended=ended)

    def wanted(self, state: State, now: float) -> int:
        """Return how many places wait for turns although their time has come."""
        ahead = math.ceil((state.full_at - now) / self.interval - self.size)
        return state.places - state.leased - max(0, ahead) if self.shared else 0

    def lease(self, state: State, now: float, turns: int, at: float, left: float) -> State:
        """Give turns, leased not before `at`, to places: fewer if they come late."""
        lag = max(LAG_SECONDS, (self.burst - left - turns) / self.requests_per_second)
        until = at + lag - LAG_SECONDS + LATE_SECONDS + (turns - 1) * self.interval
        # Places that were used alone get none now.
        leased = state.places if state.alone else state.leased
        ended = leased if state.alone or state.lease_until < now else state.ended
        if ended < leased:
            until = min(until, state.lease_until + turns * self.interval)
        turns = min(turns, max(0, 1 + math.floor((until - now) / self.interval)))
        ask_at = now if left >= 1 else now + ASK_SECONDS
        state = state._replace(leased=leased + turns, ended=ended, ask_at=ask_at, alone=False)
        return state._replace(lease_until=until) if turns else state

    def _time_of(self, state: State, number: int) -> float:
        """Return the time of a place, of those that wait for theirs."""
        return state.full_at - (self.size + state.places - number) * self.interval

    def _free(self, state: State, now: float) -> set[int]:
        return {number for number in state.free if self._time_of(state, number) > now}
