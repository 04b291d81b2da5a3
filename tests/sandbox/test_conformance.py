"""The sandbox against its contract, by a fuzzer that knows only the contract.

Every check of the fuzzer is on. The ones for operations that create or delete, and for what
belongs to one user of several, have nothing to look at: the contract has neither. One kind of
finding is dropped, by fuzz_hooks.py: a valid request that is refused with 400 because of what
the workspace holds, which no schema can say.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from prefect_ruddr.sandbox import Sandbox

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
CONFIGURATION = HERE / "schemathesis.toml"
CONTRACT = HERE.parents[1] / "openapi.yaml"


def fuzz(sandbox: Sandbox, folder: Path, *options: str) -> str:
    """Run the fuzzer over all operations, from an empty folder, and return its report."""
    fuzzer = str(Path(sys.executable).with_name("schemathesis"))
    url = sandbox.base_url.removesuffix("/workspace")
    where = ["--config-file", str(CONFIGURATION), "run", str(CONTRACT), "--url", url]
    ended = subprocess.run(
        [fuzzer, *where, "--checks", "all", "--no-color", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def print_counts(report: str, sandbox: Sandbox) -> None:
    [cases] = re.findall(r"Test cases:\n +(.+)", report)
    statuses = Counter(f"{request.method} {request.status}" for request in sandbox.requests)
    print(f"{cases}; answers: {dict(statuses.most_common())}")


def assert_everything_was_tried(sandbox: Sandbox) -> None:
    """A fuzzer that only meets refusals, or never meets one, would agree with anything."""
    met = {(request.method, request.status) for request in sandbox.requests}
    assert met >= {("GET", 200), ("GET", 400), ("GET", 401), ("GET", 404)}
    assert met >= {("PATCH", status) for status in (200, 400, 401, 404)}
    assert {status for method, status in met if method in {"POST", "PUT", "DELETE"}} == {405}


@pytest.mark.long
def test_the_sandbox_agrees_with_the_contract(tmp_path: Path) -> None:
    """Some hundreds of requests, valid, invalid and in sequences, find no disagreement."""
    with Sandbox(rate=None) as sandbox:
        report = fuzz(sandbox, tmp_path, "--max-examples", "30", "--generation-deterministic")
        print_counts(report, sandbox)
        assert_everything_was_tried(sandbox)


@pytest.mark.long
def test_the_sandbox_agrees_with_the_contract_at_length(tmp_path: Path) -> None:
    """Some thousands of requests find no disagreement either."""
    with Sandbox(rate=None, record=100_000) as sandbox:
        report = fuzz(sandbox, tmp_path, "--max-examples", "1000", "--seed", "20250210")
        print_counts(report, sandbox)
        assert_everything_was_tried(sandbox)
