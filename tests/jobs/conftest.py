"""A Prefect API under every run, and two years of deals for the sandbox's stages."""

from __future__ import annotations

import importlib.util
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from prefect_ruddr import RuddrCredentials

EXAMPLE = Path(__file__).parents[2] / "examples" / "warehouse.py"


def example_warehouse() -> ModuleType:
    """Load the example's warehouse."""
    spec = importlib.util.spec_from_file_location("warehouse", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _prefect(prefect_api: None) -> None:
    """Flows run against the session's Prefect API."""


@pytest.fixture
def rows(ruddr_credentials: RuddrCredentials, tmp_path: Path) -> list[sqlite3.Row]:
    """What the example's query gives: a row for each entry of a deal into a stage."""
    warehouse: Any = example_warehouse()
    path = tmp_path / "warehouse.db"
    stages = ruddr_credentials.get_client().list_stages()
    warehouse.make_warehouse(path, stages, datetime.now(UTC))
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(warehouse.QUERY).fetchall()
