"""The arithmetic of the request budget: pure, without a clock, a lock or a file.

A caller *reserves* a place: its request is debited at once, the level may go below zero, and the
place says from when on the request may be sent. Who reserves first sends first.

Proof that Ruddr's bucket of `burst` requests refuses none of them: ours is smaller by what refills
in `LAG_SECONDS`, and a request arrives at most that long after the time of its place. So what
arrives within `t` seconds has its places within `t + lag`, and these are at most
`burst - rate * lag + rate * (t + lag) = burst + rate * t`. It costs the lag, once.

Where several machines share a limit, places also need *turns* from it, in order of their numbers.
The limit is as small, and debited when a turn is leased; so the same holds if a turn ends as long
after its lease. Each further one of a lease may end later by what one request takes to refill, as
before it at least so much earlier turns had ended or had been used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

REQUESTS_PER_SECOND = 20.0
"""The refill of a workspace's bucket, as Ruddr documents it."""

BURST = 60
"""The requests in a full bucket of a workspace, as Ruddr documents it."""

LAG_SECONDS = 0.4
"""How long after its place, or the lease of its turn, a request may arrive at Ruddr."""

LATE_SECONDS = 0.3
"""How long after that it may be sent; what is left of the lag is its way."""

CLOCK_TOLERANCE = 5e-4
"""How much slower than ours the server's clock may run: NTP slews by at most 500 ppm."""

LOOK_SECONDS = 0.05
"""How often those who wait for a turn look whether they have one."""

ASK_SECONDS = 0.25
"""How often a limit that has no turns left is asked again."""

ANSWER_SECONDS, RETRY_SECONDS = 5.0, 30.0
"""How long Prefect may take to answer, and when it is asked again where it could not be."""


class Place(NamedTuple):
    """One reserved request: from when on it may be sent, its number, the delay so far."""

    at: float
    number: int
    delay: float


class State(NamedTuple):
    """What a budget remembers. Times are in seconds of one clock, places are known by number."""

    full_at: float  # when the bucket is full again; so it holds the level
    closed_until: float = 0.0  # nobody sends before
    delay: float = 0.0  # by how much all places have been delayed so far
    places: int = 0  # the last place that was reserved
    leased: int = 0  # the last place that was given a turn
    ended: int = 0  # the last place of those whose turns have surely ended
    lease_until: float = 0.0  # when the turn of the place `leased` ends
    ask_at: float = 0.0  # when to ask for turns again
    alone: bool = False  # whether turns cannot be had, and are not needed


@dataclass(frozen=True)
class Bucket:
    """The vendor's token bucket, a little smaller, whose places are reserved.

    Args:
        requests_per_second: The vendor's refill.
        burst: The vendor's bucket, in requests.
        shared: Whether places also need turns from a limit that several machines share.
    """

    requests_per_second: float = REQUESTS_PER_SECOND
    burst: int = BURST
    shared: bool = False

    def __post_init__(self) -> None:
        if self.requests_per_second <= 0 or self.burst < 1:
            raise ValueError(f"requests_per_second must be above 0, burst at least 1: {self}")

    @property
    def size(self) -> float:
        """The vendor's bucket less what refills in the lag, or half of a small bucket."""
        margin = min(LAG_SECONDS * self.requests_per_second, self.burst / 2)
        return max(1.0, self.burst - margin)

    @property
    def interval(self) -> float:
        """The seconds in which one request refills."""
        return 1 / (self.requests_per_second * (1 - CLOCK_TOLERANCE))

    def empty(self, now: float) -> State:
        """Return the state to begin with where what was used is not known."""
        return State(full_at=now + self.size * self.interval)

    def reserve(self, state: State, now: float) -> tuple[State, Place]:
        """Debit one request, and return its place."""
        full_at = max(state.full_at, now) + self.interval
        # Turns that were leased ahead and have ended are passed over.
        usable = math.ceil(state.leased - (state.lease_until - now) / self.interval)
        number = max(state.places + 1, min(usable, state.leased + 1))
        place = Place(max(now, full_at - self.size * self.interval), number, state.delay)
        return state._replace(full_at=full_at, places=number), place

    def seconds_until(self, state: State, place: Place, now: float) -> float | None:
        """Return how long the holder of a place has to wait, 0 where it may send.

        None means that the place or its turn was not used in time, or that the state began anew:
        the place is lost, and its holder has to reserve another.
        """
        at = place.at + state.delay - place.delay
        wait = max(0.0, at - now, state.closed_until - now)
        if not self.shared or state.alone:
            is_lost = now > at + LATE_SECONDS
        else:
            behind = state.leased - place.number
            ends = state.lease_until - behind * self.interval
            is_lost = place.number <= state.ended or (behind >= 0 and now > ends)
            wait = max(wait, 0.0 if behind >= 0 else LOOK_SECONDS)
        return None if is_lost or place.number > state.places else wait

    def give_back(self, state: State, now: float, place: Place) -> State:
        """Undo a reservation whose time has not come, if it is the last.

        In front of others the room might be used twice: it could fill the bucket meanwhile.
        """
        at = place.at + state.delay - place.delay
        if place.number != state.places or place.number <= state.leased or at <= now:
            return state
        emptied = state.closed_until + self.size * self.interval
        full_at = max(state.full_at - self.interval, emptied)
        return state._replace(full_at=full_at, places=state.places - 1)

    def slow_down(self, state: State, now: float, seconds: float) -> State:
        """Empty the bucket, refill it only once `seconds` have passed, and delay all places."""
        closed_until = max(state.closed_until, now + seconds)
        delay = closed_until - max(state.closed_until, now)
        emptied = closed_until + self.size * self.interval
        state = state._replace(
            full_at=max(state.full_at + delay, emptied),
            closed_until=closed_until,
            delay=state.delay + delay,
        )
        # Those who wait for turns reserve again, as their places are in the past.
        return state._replace(leased=state.places, ended=state.places) if self.shared else state

    def wanted(self, state: State, now: float) -> int:
        """Return how many places wait for turns although their time has come."""
        ahead = math.ceil((state.full_at - now) / self.interval - self.size)
        return state.places - state.leased - max(0, ahead) if self.shared else 0

    @property
    def ahead(self) -> int:
        """The turns to lease for those who will ask next, where there is plenty."""
        return round(ASK_SECONDS * self.requests_per_second)

    def go_alone(self, state: State, now: float) -> tuple[State, bool]:
        """Need no turns for a while, as the limit cannot be used; tell whether that is news."""
        return state._replace(ask_at=now + RETRY_SECONDS, alone=True), not state.alone

    def lease(self, state: State, now: float, turns: int, leased_at: float, left: float) -> State:
        """Give turns, fewer if they come late, to the places that wait and to the next.

        Args:
            state: The state.
            now: The time.
            turns: How many were leased.
            leased_at: A time before which they were not.
            left: How many the limit has left.
        """
        until = leased_at + LATE_SECONDS + (turns - 1) * self.interval
        # Places that were used alone get none now.
        leased = state.places if state.alone else state.leased
        ended = leased if state.alone or state.lease_until < now else state.ended
        if ended < leased:
            until = min(until, state.lease_until + turns * self.interval)
        turns = min(turns, max(0, 1 + math.floor((until - now) / self.interval)))
        ask_at = now if left >= 1 else now + ASK_SECONDS
        state = state._replace(leased=leased + turns, ended=ended, ask_at=ask_at, alone=False)
        return state._replace(lease_until=until) if turns else state
