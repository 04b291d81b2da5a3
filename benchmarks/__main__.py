"""Runs the benchmarks by name, or all of them, and prints their tables.

`python -m benchmarks [--rounds N] [--database NAME] [NAME …]`; every figure is the median over the
rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from importlib.metadata import version
from itertools import count
from typing import Any, NamedTuple

from benchmarks import imports, postgres
from benchmarks.place import UNLIMITED, Measured, Place, place

RATE, BURST = 20.0, 60
_NUMBERS = count(1)


class Row(NamedTuple):
    """One line of a table: what was done, and its figures."""

    name: str
    figures: Sequence[object]


class _Job(NamedTuple):
    """A job of `benchmarks.jobs`: what a table calls it, its function, how many updates, how."""

    name: str
    function: str
    updates: int
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

    def at_the_limit(self) -> None:
        """500 updates from one process at Ruddr's limit, and fewer with the usual idioms."""
        _table(
            "20 updates a second, bursts of 60: one process",
            LIMITED,
            [
                self._limited("ours, local budget", "flow_of_ours", 500),
                self._limited("ours, shared budget", "flow_of_ours", 500, limit=_name()),
                self._limited("task retries after a 429", "flow_with_retries", 500),
                # Fewer: 500 take the better part of ten minutes.
                self._limited("ours, shared budget", "flow_of_ours", 100, limit=_name()),
                self._limited(
                    "rate_limit in each task", "flow_with_rate_limit", 100, limit=_name()
                ),
            ],
        )

    def four_processes(self) -> None:
        """500 updates from four processes that share one limit."""
        far = "ours, Prefect's API 30 ms farther"
        _table(
            "20 updates a second, bursts of 60: four processes, one shared limit",
            LIMITED,
            [
                self._limited("ours", "flow_of_ours", 500, processes=4, limit=_name()),
                self._limited(far, "flow_of_ours", 500, processes=4, delay=0.03, limit=_name()),
                self._limited(
                    "rate_limit in each task",
                    "flow_with_rate_limit",
                    100,
                    processes=4,
                    limit=_name(),
                ),
            ],
        )

    def no_limit(self) -> None:
        """What the work itself costs, without a limit on the server."""
        # Each job of ours, and beside it what it is compared with.
        pairs: list[tuple[_Job, _Job]] = [
            (
                _Job("flow, ours", "flow_of_ours", 500, UNLIMITED),
                _Job("flow by hand, plain httpx", "flow_by_hand", 500),
            ),
            (
                _Job("call layer, ours", "call_layer_of_ours", 5000),
                _Job("plain httpx", "plain_httpx", 5000),
            ),
            (
                _Job("call layer, ours, 16 threads", "call_layer_of_ours", 5000, {"threads": 16}),
                _Job("plain httpx, 16 threads", "plain_httpx", 5000, {"threads": 16}),
            ),
        ]
        jobs = [job for pair in pairs for job in pair]
        taken: dict[str, list[Measured]] = {job.name: [] for job in jobs}
        # In turn, as the machine is busier at one time than at another, and in turn the other way
        # round, as it matters what was measured just before.
        for number in range(self._rounds):
            for job in jobs[:: -1 if number % 2 else 1]:
                measured = self._measure(job.function, job.updates, rate=None, **job.options)
                taken[job.name].append(measured)
        rows = [
            _cost(job, taken[job.name], taken[beside.name])
            for ours, beside in pairs
            for job in (ours, beside)
        ]
        headings = ("", "updates/s", "CPU ms/update", "÷ by hand or plain", "peak MB")
        _table("No limit on the server", headings, rows)

    def growth(self) -> None:
        """How time, memory and calls of Prefect's API grow with the updates.

        Without a limit steps end faster than Prefect's client can send their events, which wait
        in memory; at five times Ruddr's limit it still keeps up.
        """
        paced = {"requests_per_second": 5 * RATE, "burst": BURST}
        runs = [("", updates, UNLIMITED) for updates in (10, 100, 1_000, 10_000)]
        rows = []
        for how, updates, budget in [*runs, (f", {5 * RATE:g} a second", 10_000, paced)]:
            took = self._median("flow_of_ours", updates, rate=None, once=True, **budget)
            rows.append(
                Row(
                    f"{updates:,} updates{how}",
                    (
                        f"{took.whole_seconds:.1f}",
                        f"{took.whole_seconds / updates * 1000:.1f}",
                        f"{took.cpu_seconds / updates * 1000:.1f}",
                        f"{took.peak_megabytes:.0f}",
                        f"{took.prefect_calls / updates:.2f}",
                    ),
                )
            )
        _table(
            "Growth, no limit on the server",
            ("", "seconds", "ms/update", "CPU ms/update", "peak MB", "Prefect calls/update"),
            rows,
        )

    def fixed_costs(self) -> None:
        """What a run costs that changes nothing, and what starting costs."""
        _table(
            "Imports, as a flow module makes them",
            ("", "CPU s", "the least", "s", "the least", "CPU on top of Prefect as used"),
            (Row(name, figures) for name, figures in imports.measured(self._at.run)),
        )
        no_op = self._median("no_op_flow_of_ours", 250, rate=None)
        with tempfile.TemporaryDirectory() as home:
            run = ["make", "run", f"RUN_HOME={home}"]
            cold, warm = self._at.run(run), self._at.run(run)
        _table(
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
        _table(
            "40 changes at Ruddr's limit, to the last PATCH",
            ("", "seconds"),
            [
                Row("ours: read, plan, publish, write", (f"{ours.seconds:.3f}",)),
                Row("plain httpx, one after the other", (f"{floor.seconds:.3f}",)),
            ],
        )

    def _limited(self, name: str, job: str, updates: int, **options: Any) -> Row:
        took = self._median(job, updates, rate=RATE, **options)
        lost = f" ({updates - took.patches:g} lost)" if took.patches != updates else ""
        return Row(
            name + lost,
            (
                updates,
                f"{took.seconds:.2f}",
                f"{took.seconds / ideal(updates):.3f}",
                f"{took.requests:g}",
                f"{took.seconds / ideal(took.requests):.3f}",
                f"{took.refused:g}",
                f"{took.prefect_calls:g}",
                f"{took.start_seconds:.2f}",
            ),
        )

    def _median(self, job: str, updates: int, *, once: bool = False, **options: Any) -> Measured:
        rounds = 1 if once else self._rounds
        return _medians([self._measure(job, updates, **options) for _ in range(rounds)])

    def _measure(self, job: str, updates: int, **options: Any) -> Measured:
        taken = self._at.measure(job, updates, **options)
        print(".", end="", file=sys.stderr, flush=True)
        return taken


def _medians(taken: Sequence[Measured]) -> Measured:
    rounds = (astuple(measured) for measured in taken)
    return Measured(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))


def _cost(job: _Job, taken: Sequence[Measured], beside: Sequence[Measured]) -> Row:
    took = _medians(taken)
    # Within a round, where the machine was as busy for the one as for the other.
    rounds = zip(taken, beside, strict=True)
    cpu = statistics.median(one.cpu_seconds / other.cpu_seconds for one, other in rounds)
    figures = (
        f"{job.updates / took.seconds:.0f}",
        f"{took.cpu_seconds / job.updates * 1000:.3f}",
        f"{cpu:.2f}",
        f"{took.peak_megabytes:.0f}",
    )
    return Row(job.name, figures)


LIMITED = (
    "",
    "updates",
    "s",
    "÷ ideal",
    "requests",
    "÷ their ideal",
    "429s",
    "Prefect calls",
    "Prefect's start, s",
)

BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    "limit": Bench.at_the_limit,
    "processes": Bench.four_processes,
    "nolimit": Bench.no_limit,
    "growth": Bench.growth,
    "fixed": Bench.fixed_costs,
    "forty": Bench.forty_changes,
}


def ideal(requests: float) -> float:
    """Return the seconds that a full bucket needs for so many requests, at the least."""
    return (requests - BURST) / RATE


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=3, help="how often to measure (3)")
    installed = "postgresql" if postgres.programs() else "sqlite"
    parser.add_argument(
        "--database",
        choices=("postgresql", "sqlite"),
        default=installed,
        help=f"what Prefect's server keeps its records in (here {installed})",
    )
    asked = parser.parse_args()
    unknown = set(asked.names) - set(BENCHMARKS)
    if unknown or asked.rounds < 1:
        parser.error(f"there is no benchmark {', '.join(unknown)}: {', '.join(BENCHMARKS)}")
    print(_machine(asked.database))
    with place(asked.database) as at:
        for name in asked.names or BENCHMARKS:
            BENCHMARKS[name](Bench(at, asked.rounds))


def _machine(database: str) -> str:
    packages = ("prefect", "httpx", "pydantic", "stamina")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        f" {platform.machine()}, Python {platform.python_version()}, {versions};"
        f" Prefect's server on {database}"
    )


def _name() -> str:
    """Return the name of a limit that was not used before."""
    return f"benchmark-{next(_NUMBERS)}"


def _table(title: str, headings: Sequence[str], rows: Iterable[Row]) -> None:
    lines = [f"| {' | '.join(headings)} |", f"|---{'|---:' * (len(headings) - 1)}|"]
    lines += [f"| {row.name} | {' | '.join(map(str, row.figures))} |" for row in rows]
    print(f"\n### {title}\n", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
