"""Measures a recalibration of a large history, from rows to decisions.

`python -m benchmarks.recalibration [ROWS …]` prints seconds and megabytes for so many rows (50,000
and 200,000), each measured in a process of its own: once from rows to decisions, and once as a
whole run of the flow, with a Prefect server and a sandbox, up to the last PATCH. The rows are made
while they are read, as a file or a cursor gives them, and the libraries are loaded before.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from benchmarks.tables import Row, show
from prefect_ruddr import RuddrCredentials, recalibrate_stage_probabilities
from prefect_ruddr.recalibration.estimate import WON, Cohort, evidence
from prefect_ruddr.recalibration.evaluation import recalibrated
from prefect_ruddr.recalibration.history import judged_history
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.sandbox import Sandbox
from prefect_ruddr.stages.stage import Stage, StageStatus

NOW = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
STAGES = tuple(
    Stage(
        id=UUID(int=place + 1),
        name=name,
        description=None,
        probability=probability,
        status_id=status,
        is_active=True,
        opportunity_pipeline_id=UUID(int=99),
        created_at=NOW,
    )
    for place, (name, probability, status) in enumerate[tuple[str, float, StageStatus]](
        [
            ("Qualification", 0.2, "open"),
            ("Discovery", 0.4, "open"),
            ("Proposal", 0.6, "open"),
            ("Won", 1.0, "won"),
            ("Lost", 0.0, "lost"),
        ]
    )
)


def history(rows: int, stages: Sequence[Stage] = STAGES) -> Iterator[dict[str, Any]]:
    """Yield rows as a query of a warehouse would: text, a few for each deal."""
    random = Random(1)  # noqa: S311 - sample data, nothing secret
    *open_stages, won, lost = stages
    deal = 0
    made = 0
    while made < rows:
        deal += 1
        at = NOW - timedelta(days=900 * random.random())
        way = [*open_stages, won]
        for stage in way[: random.randint(1, len(way))]:
            if at <= NOW:
                made += 1
                yield _row(deal, stage, at)
            at += timedelta(days=60 * random.random())
        if stage is not won and random.random() < 0.8 and at <= NOW:
            made += 1
            yield _row(deal, lost, at)


def measured(rows: int) -> dict[str, float]:
    """Judge and evaluate so many rows; return seconds and megabytes."""
    options = RecalibrationOptions()
    evidence(Cohort([1.0, 2.0], [WON, WON]), options.horizon, 0.8)
    before, start = _megabytes(), time.perf_counter()
    judged = judged_history(history(rows), STAGES, options, now=NOW)
    read = time.perf_counter()
    found = recalibrated(judged, STAGES, options)
    done = time.perf_counter()
    return {
        "rows": found.rows,
        "deals": found.deals,
        "judging": read - start,
        "evaluating": done - read,
        "megabytes": _megabytes() - before,
    }


def measured_run(rows: int) -> dict[str, float]:
    """Run the flow over so many rows; return seconds, megabytes and how many stages it wrote."""
    pipeline = Sandbox(stages=7, rate=None)
    with prefect_test_harness(server_startup_timeout=120), pipeline as sandbox:
        key = RuddrCredentials(api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url)
        stages = sorted(
            key.get_client().list_stages(), key=lambda s: ("open", "won", "lost").index(s.status_id)
        )
        evidence(Cohort([1.0, 2.0], [WON, WON]), RecalibrationOptions().horizon, 0.8)
        before, start = _megabytes(), time.perf_counter()
        found = recalibrate_stage_probabilities(
            key, history(rows, stages), as_of=NOW, approval="never"
        )
        return {
            "rows": rows,
            "seconds": time.perf_counter() - start,
            "written": found.report.counts["updated"] if found.report else 0,
            "megabytes": _megabytes() - before,
        }


def main() -> None:
    """Measure each number of rows in a process of its own."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps({"pure": measured, "run": measured_run}[sys.argv[2]](int(sys.argv[3]))))
        return
    pure, runs = [], []
    for number in sys.argv[1:] or ["50000", "200000"]:
        took = _in_a_process("pure", number)
        figures = (
            f"{took['deals']:,}",
            f"{took['judging']:.1f}",
            f"{took['evaluating']:.1f}",
            f"{took['megabytes']:.0f}",
        )
        pure.append(Row(f"{took['rows']:,} rows", figures))
        took = _in_a_process("run", number)
        of_run = (f"{took['written']}", f"{took['seconds']:.1f}", f"{took['megabytes']:.0f}")
        runs.append(Row(f"{took['rows']:,} rows", of_run))
    headings = ("", "deals", "judging, s", "evaluating, s", "more MB at the peak")
    show("A recalibration, from rows to decisions", headings, pure)
    show("A run of the flow", ("", "stages written", "s", "more MB at the peak"), runs)


def _in_a_process(what: str, number: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.recalibration", "--one", what, number]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    took: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return took


def _row(deal: int, stage: Stage, at: datetime) -> dict[str, Any]:
    return {
        "opportunity_id": f"D-{deal:07}",
        "stage_id": str(stage.id),
        "entered_at": at.isoformat(),
    }


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
