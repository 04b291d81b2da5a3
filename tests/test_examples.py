"""The examples, run as a person runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.usefixtures("prefect_api")
def test_the_etl_example_loads_what_the_warehouse_says() -> None:
    """From SQLite to the sandbox: one PATCH for each stage with enough deals, and checked."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / "stage_etl.py"],
        env=os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "12 open stages in the warehouse, 11 with enough deals; 11 PATCH requests\n"
    )
    printed = re.findall(r"Flow run '.+' - (.+): (\d+\.\d\d)%$", done.stderr, re.MULTILINE)
    assert len(printed) == 11
    assert ("Proposal", "44.85") in printed
    assert "Finished in state Completed()" in done.stderr
