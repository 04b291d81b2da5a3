"""Three workers on one workspace, Prefect on PostgreSQL, and one of them is lost in the middle."""

from __future__ import annotations

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from benchmarks.postgres import postgres, programs

from deployment.installation import API_KEY, Installation, installed
from docs.pages import Page
from prefect_ruddr.sandbox import RecordedRequest, Sandbox
from prefect_server import waiting_for
from runs.conftest import OnRequest
from runs.updates import updates_of

EACH = 30
WORKERS = 3


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A workspace with as many stages for each worker."""
    with Sandbox(stages=WORKERS * EACH, api_key=API_KEY, rate=None) as running:
        yield running


@pytest.fixture
def installation(sandbox: Sandbox, tmp_path: Path) -> Iterator[Installation]:
    """A server on PostgreSQL with three workers."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with postgres(port) as database:
        settings = {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        }
        with installed(tmp_path, sandbox, workers=WORKERS, **settings) as running:
            yield running


def process_of(flow_run_id: str) -> int:
    """Return the process that a flow run is in."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"PREFECT__FLOW_RUN_ID={flow_run_id}".encode() in (each / "environ").read_bytes():
                return int(each.name)
    raise AssertionError(f"no process of flow run {flow_run_id}")


@pytest.mark.long
def test_a_worker_that_is_lost_loses_nothing(
    installation: Installation, sandbox: Sandbox, on_request: OnRequest, tmp_path: Path
) -> None:
    """It is seen as crashed, the others end well, and its run again writes what was missing."""
    automation = tmp_path / "lost.yaml"
    automation.write_text(Page("docs/scaling.md").marked("automation")["lost"])
    installation.prefect("automation", "create", "--from-file", str(automation))
    updates = updates_of(sandbox)
    parts = [updates[first : first + EACH] for first in range(0, len(updates), EACH)]
    part_of = {update["id"]: number for number, part in enumerate(parts) for update in part}
    runs: list[str] = []
    lost: list[int] = []

    def lose_a_worker(request: RecordedRequest) -> None:
        if request.method == "PATCH" and not lost and len(runs) == WORKERS:
            sent = [r for r in sandbox.requests if r.method == "PATCH"]
            if len(sent) > EACH // 2:
                lost.append(part_of[request.path.rpartition("/")[2]])
                of_run = process_of(runs[lost[0]])
                worker = int(Path(f"/proc/{of_run}/stat").read_text().rpartition(")")[2].split()[1])
                assert b"worker" in Path(f"/proc/{worker}/cmdline").read_bytes()
                for pid in (worker, of_run):
                    os.kill(pid, signal.SIGKILL)

    sandbox.fail_next(1000, method="PATCH", delay=0.5)
    on_request(lose_a_worker)
    flow = "apply-stage-updates"
    for part in parts:
        created = installation.create_run(flow, updates=part)
        runs.append(created.raise_for_status().json()["id"])

    for number, run_id in enumerate(runs):
        for _ in waiting_for(f"the end of run {number}", 300):
            state = installation.get(f"/flow_runs/{run_id}")["state_type"]
            if state in {"COMPLETED", "FAILED", "CRASHED"}:
                break
        assert state == ("CRASHED" if number in lost else "COMPLETED")
    held = {s["id"] for s in sandbox.stages if s["description"] == f"{s['id']}."}
    [number] = lost
    missing = {update["id"] for update in parts[number]} - held
    assert 0 < len(missing) < EACH
    sandbox.clear_faults()
    before = len(sandbox.requests)

    again = installation.run(flow, updates=parts[number])

    assert again["state_type"] == "COMPLETED"
    assert all(s["description"] == f"{s['id']}." for s in sandbox.stages)
    sent = [r.path.rpartition("/")[2] for r in sandbox.requests[before:] if r.method == "PATCH"]
    assert Counter(sent) == Counter(missing)
