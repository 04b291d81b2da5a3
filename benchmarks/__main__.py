"""Runs the benchmarks by name, or all of them, and prints their tables.

`python -m benchmarks [--rounds N] [--database NAME] [NAME …]`; every figure is the median over the
rounds.
"""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from importlib.metadata import version

from benchmarks import postgres
from benchmarks.bench import Bench
from benchmarks.place import place

BENCHMARKS: dict[str, Callable[[Bench], None]] = {
    "pacing": Bench.pacing,
    "limit": Bench.at_the_limit,
    "nolimit": Bench.no_limit,
    "growth": Bench.growth,
    "fixed": Bench.fixed_costs,
    "forty": Bench.forty_changes,
}


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


if __name__ == "__main__":
    main()
