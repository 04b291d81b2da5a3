"""What the tests share: a Prefect API for the session, and a sandbox Ruddr for each test."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before Prefect is imported: it reads its settings then.
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"

import pytest
from hypothesis import settings
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.api import answers
from prefect_ruddr.clients import forget_clients
from prefect_ruddr.pacing.keeping import FOLDER_VARIABLE
from prefect_ruddr.sandbox import Sandbox

API_KEY = "rk_test_4f9d2c7b1a8e"

# A busy machine is slow now and then; that says nothing about an example.
settings.register_profile("repository", deadline=None)
settings.load_profile("repository")


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A real Prefect API with a database of its own, for the whole session.

    Without heartbeats: at the end of a flow, the thread that sends them takes a second to stop.
    """
    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session", autouse=True)
def budgets_of_the_session() -> Iterator[None]:
    """Budgets that the tests share with nobody else on the machine."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(Path(folder) / "budgets"))
        yield


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A fresh sandbox Ruddr on a free port, without a rate limit.

    An earlier one may have had its port: so nothing of that one is kept, no client and no budget.
    """
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "budgets"))
    forget_clients()
    with Sandbox(api_key=API_KEY, rate=None) as running:
        yield running
    forget_clients()


@pytest.fixture
def ruddr_credentials(sandbox: Sandbox) -> RuddrCredentials:
    """The key to the sandbox."""
    return RuddrCredentials(
        api_key=SecretStr(sandbox.api_key),
        base_url=sandbox.base_url,
        requests_per_second=1000,
        burst=1000,
    )


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> tuple[float, ...]:
    """Retries that wait for milliseconds where they would for seconds; all else is real."""
    waits = tuple(wait / 1000 for wait in answers.WAITS)
    monkeypatch.setattr(answers, "WAITS", waits)
    return waits


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a call of the API to its end, in either colour: one table for both twins."""

    def sync(credentials: RuddrCredentials, method: str, *arguments: Any) -> Any:
        return getattr(credentials.get_client(), method)(*arguments)

    def from_event_loop(credentials: RuddrCredentials, method: str, *arguments: Any) -> Any:
        return asyncio.run(getattr(credentials.get_client(), f"a{method}")(*arguments))

    return {"sync": sync, "async": from_event_loop}[request.param]
