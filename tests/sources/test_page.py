"""docs/sources.md, executed: its file, and its examples one after the other."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect_sqlalchemy import (  # type: ignore[import-untyped]
    ConnectionComponents,
    SqlAlchemyConnector,
    SyncDriver,
)

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.sources.tables import COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
def _blocks(
    prefect_api: None,
    ruddr_credentials: RuddrCredentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """The blocks, the file and the database that the page speaks of."""
    ruddr_credentials.save("forecast", overwrite=True)
    path = tmp_path / "warehouse.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE forecast (stage_id TEXT, win_rate NUMERIC)")
    connection.execute("INSERT INTO forecast VALUES (?, 0.625)", [EXAMPLE_STAGE_ID])
    connection.commit()
    connection.close()
    SqlAlchemyConnector(
        connection_info=ConnectionComponents(driver=SyncDriver.SQLITE_PYSQLITE, database=str(path))
    ).save("warehouse", overwrite=True)
    for name, content in FILE.findall(PAGE):
        (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield
    RuddrCredentials.delete("forecast")
    SqlAlchemyConnector.delete("warehouse")


@pytest.mark.usefixtures("_blocks")
def test_the_examples_do_what_they_say(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each prints a summary, and the stages are as it says."""
    examples = dict(EXAMPLE.findall(PAGE))
    said: dict[str, str] = {}
    held: dict[str, Any] = {}
    for name, code in examples.items():
        exec(compile(code, f"docs/sources.md, {name}", "exec"), {})  # noqa: S102 - our own text
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


def test_every_python_block_is_executed() -> None:
    """None is left out by a missing mark."""
    assert PAGE.count("```python") == len(EXAMPLE.findall(PAGE))


def test_every_column_is_named() -> None:
    """Who adds one writes it down."""
    section = PAGE.split("## Columns")[1].split("## Cells")[0]
    assert set(COLUMNS) <= set(re.findall(r"`(\w+)`", section))
