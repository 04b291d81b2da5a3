"""The request budget shared by processes and machines, through a Prefect global concurrency limit.

Whoever has callers waiting leases some requests from the limit and sends them at once; while the
limit has plenty, the next few are leased before they are asked for.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import NamedTuple

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.log import run_logger
from prefect_ruddr.pacing.leases import FRESH_SECONDS, Room, ends_of_turns
from prefect_ruddr.pacing.lending import Lender, lending

LEASE_SECONDS = 0.5
"""A lease is at most what refills in this time: ten requests at 20 per second."""

AHEAD_SECONDS = 0.2
"""Half the turns that were taken in this time are leased ahead of those who will ask for them:
more might not be used before they end."""

GATHER_SECONDS = 5.0
"""How long those who wait for room wait for all callers; after that they take what there is."""

PATIENCE_SECONDS = 5.0
"""How long Prefect's API may owe an answer before callers go on without it; its client would try
again for more than a minute."""

RETRY_SECONDS = 30.0
"""After this time an API that was in trouble is tried again."""

LOOK_UP_SECONDS = 0.02
"""How often those who wait for room look how many they are."""

IDLE_SECONDS = 20.0
"""How long the thread and its connection outlive the last caller; Prefect keeps one for 25 s."""


class Demand(NamedTuple):
    """What the callers of this process need.

    Attributes:
        waiting: Those who wait for a turn.
        callers: The same, and those with a request in flight.
        ahead: The turns that will be asked for next.
    """

    waiting: int = 0
    callers: int = 0
    ahead: int = 0

    @property
    def turns(self) -> int:
        """The turns to lease, for those who wait or ahead of them."""
        return self.waiting or self.ahead


class SharedLimit:
    """The turns of one process, leased from a global concurrency limit as its callers need them.

    One daemon thread calls Prefect's API, while there are callers and a little longer. While the
    API cannot be used, turns are free: the process then paces itself alone.

    Args:
        name: The name of the limit in Prefect.
        requests_per_second: The vendor's refill, in requests per second.
        burst: The vendor's bucket, in requests.
    """

    def __init__(self, name: str, requests_per_second: float, burst: int) -> None:
        self.on_news: Callable[[], None] = lambda: None
        self._name = name
        self._rate = requests_per_second
        self._burst = burst
        self._largest_lease = max(1, round(LEASE_SECONDS * requests_per_second))
        self.start_afresh()

    def start_afresh(self) -> None:
        """Forget everything: in a forked child."""
        self._asked = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._lender: Lender | None = None
        self._wanted = Demand()
        self._ends_of_turns: deque[float] = deque()
        self._taken: deque[float] = deque(maxlen=self._largest_lease)
        self._refusal: str | None = None
        self._free_until: float | None = None

    def take(self, waiting: int, in_flight: int) -> bool:
        """Use one turn for the first of `waiting` callers, or ask for turns and return False.

        Raises:
            GlobalConcurrencyLimitError: The limit is missing or does not fit.
        """
        now = time.monotonic()
        with self._asked:
            if self._refusal is not None:
                refusal, self._refusal = self._refusal, None
                raise GlobalConcurrencyLimitError(refusal)
            if self._take_leased(now):
                return True
            if self._free_until is not None and now < self._free_until:
                return True
            asking_since = self._lender.asking_since if self._lender else None
            if asking_since is not None and now - asking_since > PATIENCE_SECONDS:
                self._go_on_alone(f"no answer for {PATIENCE_SECONDS:g} s")
                return True
            self._wanted = Demand(waiting, waiting + in_flight)
            if self._thread is None:
                # In the caller's context, which holds the settings of Prefect in force.
                lend = partial(copy_context().run, self._lend)
                thread = threading.Thread(target=lend, name="ruddr-shared-budget", daemon=True)
                thread.start()
                self._thread = thread
            self._asked.notify()
            return self._free_until is not None

    def _take_leased(self, now: float) -> bool:
        turns, taken = self._ends_of_turns, self._taken
        while turns and turns[0] <= now:
            turns.popleft()
        if not turns:
            return False
        turns.popleft()
        if not turns:
            ahead = math.ceil(sum(now - before < AHEAD_SECONDS for before in taken) / 2)
            self._wanted = self._wanted._replace(ahead=ahead)
            self._asked.notify()
        taken.append(now)
        return True

    def _lend(self) -> None:
        refusal: str | None = None
        trouble: str | None = None
        try:
            with lending(self._name, PATIENCE_SECONDS) as lender:
                self._lend_with(lender)
        except GlobalConcurrencyLimitError as error:
            refusal = str(error)
        except Exception as error:  # noqa: BLE001 - pacing alone beats failing the run
            trouble = f"{type(error).__name__}: {error}"
        with self._asked:
            if trouble is not None:
                self._go_on_alone(trouble)
            if self._thread is threading.current_thread():
                self._thread = None
                self._refusal = refusal if self._wanted.waiting else None
                self._wanted = Demand()
        self.on_news()

    def _lend_with(self, lender: Lender) -> None:
        """Lease turns as long as somebody asks."""
        self._lender = lender
        room = Room(lambda: lender.read(self._rate, self._burst), self._rate)
        while (demand := self._demand()) is not None:
            if not demand.waiting and room.now() < max(demand.ahead, room.limit.size / 2):
                continue  # what is short is not leased ahead
            self._gather(room)
            asked = self._wanted.waiting or demand.turns
            turns = min(asked, self._largest_lease, int(room.now()))
            leased_at = lender.lease(turns * room.limit.slots)
            if leased_at is None:
                room.look()
            else:
                room.take(turns)
                self._deliver(turns, leased_at)

    def _gather(self, room: Room) -> None:
        """Wait until there is room for all callers: those in flight will soon be back.

        The longer it takes, the fewer it has to be for, so who has waited longest comes first. In a
        crowd it is for a share of the largest lease that chance sets, lest all processes come at
        once, and the limit is read while the last bit of the wait is still to come.
        """
        since = time.monotonic()
        share = random.uniform(0.5, 1) if room.is_crowded() else 1.0  # noqa: S311  # not a secret
        while True:
            patience = 1 - (time.monotonic() - since) / GATHER_SECONDS
            callers = self._wanted.callers
            turns = callers if callers < self._largest_lease else share * self._largest_lease
            needed = min(max(1, math.ceil(turns * patience)), room.limit.size)
            wait = (needed - room.now()) / self._rate
            if wait < FRESH_SECONDS and not room.is_certain():
                room.look()
            elif wait > 0:
                time.sleep(min(wait, LOOK_UP_SECONDS))
            else:
                return

    def _demand(self) -> Demand | None:
        """Return what is needed as soon as something is; None if nothing was for long."""
        with self._asked:
            if not self._asked.wait_for(lambda: self._wanted.turns, IDLE_SECONDS):
                self._thread = None
                return None
            demand = self._wanted
            self._wanted = demand._replace(ahead=0)
            return demand

    def _deliver(self, turns: int, leased_at: float) -> None:
        with self._asked:
            self._ends_of_turns.extend(ends_of_turns(turns, leased_at, self._rate))
            waiting = max(0, self._wanted.waiting - turns)
            self._wanted = self._wanted._replace(waiting=waiting)
            self._free_until = None
        self.on_news()

    def _go_on_alone(self, trouble: str) -> None:
        if self._free_until is None:
            run_logger().warning(
                "The global concurrency limit %r cannot be used, so this process paces itself "
                "alone; other processes may get 429 for it. Prefect's API: %s",
                self._name,
                trouble,
            )
        self._free_until = time.monotonic() + RETRY_SECONDS
