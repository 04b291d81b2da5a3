"""What importing costs: Prefect alone, and with what a flow module uses of ours on top."""

from __future__ import annotations

import resource
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence

FACADE = "from prefect import flow, task; from prefect.blocks.core import Block"
NAMES = (
    "from prefect_ruddr import RuddrCredentials, StageUpdate, StageReport, apply_stage_updates,"
    " undo_stage_updates, apply_stage_file, update_opportunity_stage, aupdate_opportunity_stage,"
    " read_stage_updates, stage_rows, StageUpdatesFailed"
)
USED = "Prefect as used: flow, task, Block"
PROGRAMS = {
    "Prefect, bare": "import prefect, prefect.flows, prefect.tasks",
    USED: FACADE,
    "… and import prefect_ruddr, no name used": f"{FACADE}; import prefect_ruddr",
    "… and the block, the tasks, the flows": f"{FACADE}; {NAMES}",
}
ROUNDS = 15

Run = Callable[[Sequence[str]], float]
"""Runs a command, and returns how many seconds it took."""


def measured(run: Run) -> Iterator[tuple[str, Sequence[str]]]:
    """Measure each program in fresh interpreters, in turn, as other work comes and goes.

    Yields:
        Each program's name; the median and the least of its CPU seconds and of its seconds; and
        its CPU on top of Prefect as it is used.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(1 + ROUNDS):
        for name, code in PROGRAMS.items():
            taken[name].append(_seconds(run, code))
    # The first time what is not compiled yet is compiled, which an installation does once.
    kinds = {name: list(zip(*figures[1:], strict=True)) for name, figures in taken.items()}
    for name, both in kinds.items():
        figures = [f"{of(kind):.3f}" for kind in both for of in (statistics.median, min)]
        # Within a round, where the machine was as busy for the one as for the other.
        rounds = zip(both[0], kinds[USED][0], strict=True)
        on_top = statistics.median(cpu / base for cpu, base in rounds) - 1
        yield name, (*figures, f"{on_top * 100:+.1f} %")


def _seconds(run: Run, code: str) -> tuple[float, float]:
    """Run a program in an interpreter of its own; return its CPU seconds and its seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = run([sys.executable, "-c", code])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds
