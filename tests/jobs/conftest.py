"""A Prefect API under every run, and two years of deals for the sandbox's stages."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from warehouse import QUERY, make_warehouse

from prefect_ruddr import RuddrCredentials


@pytest.fixture(autouse=True)
def _prefect(prefect_api: None) -> None:
    """Flows run against the session's Prefect API."""


@pytest.fixture
def rows(ruddr_credentials: RuddrCredentials, tmp_path: Path) -> list[sqlite3.Row]:
    """What the example's query gives: a row for each entry of a deal into a stage."""
    path = tmp_path / "warehouse.db"
    stages = ruddr_credentials.get_client().list_stages()
    make_warehouse(path, stages, datetime.now(UTC))
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(QUERY).fetchall()
