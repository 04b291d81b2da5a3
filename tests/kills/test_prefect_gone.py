"""Prefect's server is killed in the middle of a run, and does not come back."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest

from prefect_ruddr.sandbox import RecordedRequest, Sandbox
from runs.conftest import OnRequest
from runs.records import patches
from runs.updates import updates_of

SOON_SECONDS = 60.0
"""How soon the report is with its caller; Prefect's own retries take minutes."""


@pytest.fixture
def prefect_server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Prefect server of its own, and the address of its API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    server = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)],
        env={**os.environ, "PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": address},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not answers(f"{address}/health"):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield server, address
    server.kill()
    server.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # our own server
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


@pytest.mark.long
def test_the_report_still_reaches_its_caller_and_soon(
    prefect_server: tuple[subprocess.Popen[bytes], str], on_request: OnRequest, tmp_path: Path
) -> None:
    """As our error, with the whole report; what was confirmed is in effect."""
    server, address = prefect_server
    with Sandbox(stages=60, rate=None) as sandbox:
        sandbox.fail_next(60, method="PATCH", delay=0.2)
        gone_at: list[float] = []

        def kill(request: RecordedRequest) -> None:
            if request.method == "PATCH" and len(patches(sandbox)) == 30:
                server.kill()
                gone_at.append(time.monotonic())

        on_request(kill)
        process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("apply_and_tell.py")],
            env={
                **os.environ,
                "PREFECT_HOME": str(tmp_path / "client"),
                "PREFECT_API_URL": address,
                "RUDDR_API_KEY": sandbox.api_key,
                "RUDDR_BASE_URL": sandbox.base_url,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(updates_of(sandbox)).encode())
        process.stdin.close()
        with process:
            kind, text, counts = json.loads(process.stdout.readline())
            took = time.monotonic() - gone_at[0]
            held = sum(s["description"] == f"{s['id']}." for s in sandbox.stages)
            process.kill()
    assert kind == "RunNotRecorded"
    assert "Prefect could not record how the run ended" in text
    assert sum(counts.values()) == 60
    assert counts["updated"] == held
    assert took < SOON_SECONDS
