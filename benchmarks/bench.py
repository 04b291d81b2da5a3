"""The benchmarks: what is measured, beside what, and how often."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from benchmarks import imports
from benchmarks.place import Place
from benchmarks.site import UNLIMITED, Measured
from benchmarks.tables import (
    COSTS,
    GROWTH,
    LIMITED,
    Row,
    cost_rows,
    growth_row,
    limited_row,
    medians,
    show,
)
from prefect_ruddr.pacing.bucket import BURST
from prefect_ruddr.pacing.bucket import REQUESTS_PER_SECOND as RATE

TURNS = 25
"""How often, in a round, the call layer and plain `httpx` take turns."""

_NUMBERS = count(1)


class _Job(NamedTuple):
    """A job of `benchmarks.jobs`: what a table calls it, its function, and its options."""

    name: str
    function: str
    options: Mapping[str, Any] = {}


class Bench:
    """The benchmarks, over a number of rounds.

    Args:
        at: Where they take place.
        rounds: How often each measurement is made.
    """

    def __init__(self, at: Place, rounds: int) -> None:
        self._at = at
        self._rounds = rounds

    def pacing(self) -> None:
        """500 plain requests from 16 threads in each process, with nothing but the pacing."""
        ours, two = "paced_httpx", "ours, two machines of two processes, shared limit"
        show(
            "20 requests a second, bursts of 60: the pacing alone",
            LIMITED,
            [
                self._limited("ours, one process", ours, 500),
                self._limited("ours, four processes", ours, 500, processes=4),
                self._limited(two, ours, 500, processes=4, machines=2, limit=_name()),
                self._limited("pyrate-limiter, one process", "paced_by_pyrate_limiter", 500),
            ],
        )

    def at_the_limit(self) -> None:
        """500 updates at Ruddr's limit, and fewer with the usual idioms."""
        ours = "flow_of_ours"
        one, four = "ours, one process", "ours, four processes"
        two = "ours, two machines of two processes, shared limit"
        far = "… Prefect's API 30 ms farther"
        sharing: dict[str, Any] = {"processes": 4, "machines": 2}
        show(
            "20 updates a second, bursts of 60",
            LIMITED,
            [
                self._limited(one, ours, 500),
                self._limited(four, ours, 500, processes=4),
                self._limited(two, ours, 500, limit=_name(), **sharing),
                self._limited(far, ours, 500, limit=_name(), delay=0.03, **sharing),
                self._limited("task retries after a 429", "flow_with_retries", 500),
                # Fewer: 500 take the better part of ten minutes.
                self._limited(one, ours, 100),
                self._limited(
                    "rate_limit in each task", "flow_with_rate_limit", 100, limit=_name()
                ),
                self._limited(
                    "rate_limit in each task, four processes",
                    "flow_with_rate_limit",
                    100,
                    processes=4,
                    limit=_name(),
                ),
            ],
        )

    def no_limit(self) -> None:
        """What the work itself costs, without a limit on the server."""
        # What all in a list are compared with stands second.
        flows = [
            _Job("flow, ours", "flow_of_ours", UNLIMITED),
            _Job("flow by hand, plain httpx", "flow_by_hand"),
            _Job("flow by hand that tells as much", "flow_by_hand", {"tells": True}),
            _Job("flow by hand, 4 threads", "flow_by_hand", {"threads": 4}),
        ]
        taken: list[Sequence[Measured]] = []
        for number in range(self._rounds):
            # In turn the other way round, as it matters what was measured just before.
            order = -1 if number % 2 else 1
            one_round = [
                self._measure(job.function, 500, rate=None, **job.options) for job in flows[::order]
            ]
            taken.append(one_round[::order])
        rows = cost_rows([job.name for job in flows], 500, taken)
        for how, options in (("", {}), (", 16 threads", {"threads": 16})):
            calls = [
                _Job(f"call layer, ours{how}", "call_layer_of_ours", options),
                _Job(f"plain httpx{how}", "plain_httpx", options),
            ]
            in_turns = [(job.function, job.options) for job in calls]
            turns = self._at.measure_in_turns(in_turns, 200, TURNS * self._rounds)
            rows += cost_rows([job.name for job in calls], 200, turns)
        show("No limit on the server", COSTS, rows)

    def growth(self) -> None:
        """How time, memory and calls of Prefect's API grow with the updates.

        Without a limit steps end faster than Prefect's client can send their events, which wait
        in memory; at five times Ruddr's limit it still keeps up.
        """
        paced = {"requests_per_second": 5 * RATE, "burst": BURST}
        runs = [("", updates, UNLIMITED) for updates in (10, 100, 1_000, 10_000)]
        rows = []
        for how, updates, budget in [*runs, (f", {5 * RATE:g} a second", 10_000, paced)]:
            took = self._measure("flow_of_ours", updates, rate=None, **budget)
            rows.append(growth_row(f"{updates:,} updates{how}", updates, took))
        show("Growth, no limit on the server", GROWTH, rows)

    def fixed_costs(self) -> None:
        """What a run costs that changes nothing, and what starting costs."""
        show(
            "Imports, as a flow module makes them",
            ("", "CPU s", "the least", "s", "the least", "CPU on top of Prefect as used"),
            (Row(name, figures) for name, figures in imports.measured(self._at.run)),
        )
        no_op = self._median("no_op_flow_of_ours", 250, rate=None)
        with tempfile.TemporaryDirectory() as home:
            run = ["make", "run", f"RUN_HOME={home}"]
            cold, warm = self._at.run(run), self._at.run(run)
        show(
            "Fixed costs",
            ("", "figure"),
            [
                Row(
                    "apply-stage-updates, 250 stages, nothing to do",
                    (f"{no_op.whole_seconds:.2f} s",),
                ),
                Row("… reads sent", (no_op.reads,)),
                Row("… PATCHes sent", (no_op.patches,)),
                Row("make run, no database yet", (f"{cold:.1f} s",)),
                Row("make run, again", (f"{warm:.1f} s",)),
            ],
        )

    def forty_changes(self) -> None:
        """The common case: a plan of 40 changes, from the start of the flow to the last PATCH."""
        ours = self._median("flow_of_ours", 40)
        floor = self._median("plain_httpx", 40)
        show(
            "40 changes at Ruddr's limit, to the last PATCH",
            ("", "seconds", "÷ floor"),
            [
                Row(name, (f"{took.seconds:.3f}", f"{took.seconds / floor.seconds:.1f}"))
                for name, took in (
                    ("ours: read, plan, publish, write", ours),
                    ("plain httpx, one after the other", floor),
                )
            ],
        )

    def _limited(self, name: str, job: str, updates: int, **options: Any) -> Row:
        return limited_row(name, updates, self._median(job, updates, rate=RATE, **options))

    def _median(self, job: str, updates: int, **options: Any) -> Measured:
        return medians([self._measure(job, updates, **options) for _ in range(self._rounds)])

    def _measure(self, job: str, updates: int, **options: Any) -> Measured:
        taken = self._at.measure(job, updates, **options)
        print(".", end="", file=sys.stderr, flush=True)
        return taken


def _name() -> str:
    """Return the name of a limit that was not used before."""
    return f"benchmark-{next(_NUMBERS)}"
