"""docs/sources.md, executed: its file, and its examples one after the other."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.blocks import stored
from docs.pages import Page
from prefect_ruddr import RuddrCredentials
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.sources.tables import COLUMNS

PAGE = Page("docs/sources.md")


@pytest.fixture
def _blocks(
    prefect_api: None,
    ruddr_credentials: RuddrCredentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """The blocks, the file and the database that the page speaks of."""
    path = tmp_path / "warehouse.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE forecast (stage_id TEXT, win_rate NUMERIC)")
    connection.execute("INSERT INTO forecast VALUES (?, 0.625)", [EXAMPLE_STAGE_ID])
    connection.commit()
    connection.close()
    PAGE.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with stored(ruddr_credentials, "forecast", path):
        yield


@pytest.mark.usefixtures("_blocks")
def test_the_examples_do_what_they_say(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prints a summary, and the stages are as it says."""
    said: dict[str, str] = {}
    held: dict[str, Any] = {}
    for name in PAGE.marked("example"):
        PAGE.run(name, {})
        said[name] = capsys.readouterr().out.strip().splitlines()[-1]
        held[name] = {stage["name"]: stage["probability"] for stage in sandbox.stages}
    assert said == {
        "file": "2 updated",
        "export": "18 unchanged",
        "task": "2 unchanged",
        "again": "0 rows are wrong",
        "query": "1 updated",
        "frame": "1 updated, 1 unchanged",
    }
    assert held["file"]["Discovery"] == 0.3
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.625
    assert held["frame"]["Discovery"] == 0.35


def test_every_column_is_named() -> None:
    """Who adds one writes it down."""
    section = PAGE.text.split("## Columns")[1].split("## Cells")[0]
    assert set(COLUMNS) <= set(re.findall(r"`(\w+)`", section))
