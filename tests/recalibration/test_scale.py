"""A large history is judged as it streams by; what is kept of each row is little."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
def test_two_hundred_thousand_rows_take_little_memory() -> None:
    """At the peak less than 700 bytes a row; the rows themselves are made while they are read."""
    command = [sys.executable, "-m", "benchmarks.recalibration", "--one", "200000"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True)
    took = json.loads(ended.stdout)
    assert took["rows"] >= 200_000
    assert took["megabytes"] < 700 * 200_000 / 2**20
