"""How what was measured is shown: a row for what was done, its figures, ratios to compare by."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import NamedTuple

from benchmarks.site import Measured
from prefect_ruddr.pacing.bucket import BURST
from prefect_ruddr.pacing.bucket import REQUESTS_PER_SECOND as RATE

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
    "load",
)
COSTS = ("", "updates/s", "time ÷ beside", "CPU ms/update", "CPU ÷ beside", "peak MB")
GROWTH = ("", "seconds", "ms/update", "CPU ms/update", "peak MB", "Prefect calls/update")


class Row(NamedTuple):
    """One line of a table: what was done, and its figures."""

    name: str
    figures: Sequence[object]


def limited_row(name: str, updates: int, took: Measured) -> Row:
    """Return the figures of updates that were made at Ruddr's limit."""
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
            f"{took.load:.1f}",
        ),
    )


def cost_rows(
    names: Sequence[str], updates: int, rounds: Sequence[Sequence[Measured]]
) -> list[Row]:
    """Return what updates cost, and how that compares with what the second of the names took.

    It is compared within a round, where the machine was as busy for the one as for the other.
    """
    rows = []
    for name, taken in zip(names, zip(*rounds, strict=True), strict=True):
        pairs = [(one, measured[1]) for one, measured in zip(taken, rounds, strict=True)]
        time = statistics.median(one.seconds / beside.seconds for one, beside in pairs)
        cpu = statistics.median(one.cpu_seconds / beside.cpu_seconds for one, beside in pairs)
        took = medians(taken)
        figures = (
            f"{updates / took.seconds:.0f}",
            f"{time:.2f}",
            f"{took.cpu_seconds / updates * 1000:.3f}",
            f"{cpu:.2f}",
            f"{took.peak_megabytes:.0f}",
        )
        rows.append(Row(name, figures))
    return rows


def growth_row(name: str, updates: int, took: Measured) -> Row:
    """Return what a whole run took, and each of its updates."""
    return Row(
        name,
        (
            f"{took.whole_seconds:.1f}",
            f"{took.whole_seconds / updates * 1000:.1f}",
            f"{took.cpu_seconds / updates * 1000:.1f}",
            f"{took.peak_megabytes:.0f}",
            f"{took.prefect_calls / updates:.2f}",
        ),
    )


def ideal(requests: float) -> float:
    """Return the seconds that a full bucket needs for so many requests, at the least."""
    return (requests - BURST) / RATE


def medians(taken: Sequence[Measured]) -> Measured:
    """Return the median of each figure over the rounds."""
    rounds = (astuple(measured) for measured in taken)
    return Measured(*(statistics.median(figures) for figures in zip(*rounds, strict=True)))


def show(title: str, headings: Sequence[str], rows: Iterable[Row]) -> None:
    """Print a table in Markdown."""
    lines = [f"| {' | '.join(headings)} |", f"|---{'|---:' * (len(headings) - 1)}|"]
    lines += [f"| {row.name} | {' | '.join(map(str, row.figures))} |" for row in rows]
    print(f"\n### {title}\n", *lines, sep="\n", flush=True)
