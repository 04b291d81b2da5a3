"""What the tests share: a Prefect API for each process that tests, a sandbox for each test."""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from prefect_server import API_URL, prefect_server

# Before Prefect is imported: it reads its settings then. Each worker of pytest-xdist has a home
# and a Prefect API of its own, and none has this person's.
os.environ["PREFECT_API_URL"] = API_URL
os.environ["DO_NOT_TRACK"] = "1"
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["RUDDR_STATE_FOLDER"] = tempfile.mkdtemp(prefix="ruddr-state-")
# An authority whom nobody asks, as no server of these tests speaks TLS. Prefect loads the file for
# each of its clients; all authorities that it trusts by itself take 25 ms.
os.environ["PREFECT_API_SSL_CERT_FILE"] = str(Path(__file__).with_name("nobody.pem"))

import prefect
import pytest
from hypothesis import settings
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.api import answers
from prefect_ruddr.clients import forget_clients
from prefect_ruddr.machine import FOLDER_VARIABLE
from prefect_ruddr.sandbox import Sandbox

for folder in ("PREFECT_HOME", "RUDDR_STATE_FOLDER"):
    atexit.register(shutil.rmtree, os.environ[folder], ignore_errors=True)

ROOT = Path(__file__).parents[1]
API_KEY = "rk_test_4f9d2c7b1a8e"

# A busy machine is slow now and then; that says nothing about an example.
settings.register_profile("repository", deadline=None, max_examples=50)
# For the inner loop and for the long suite: `make test-fast` and `make test-all`.
settings.register_profile("fast", deadline=None, max_examples=10)
settings.register_profile("thorough", deadline=None, max_examples=200)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repository"))

_SERVER_FIXTURES = {"prefect_api", "installation"}
_LEFT_OPEN = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
    "ignore:unclosed <socket:ResourceWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a Prefect server, and what may leave its connections open."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if _SERVER_FIXTURES & fixtures:
            item.add_marker("prefect")
        if "async_flows" in fixtures:
            item.add_marker(_LEFT_OPEN)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what has been imported: it stays, and is most of all there is."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def prefect_api(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Path]:
    """A real Prefect API with a database of its own, started for the first test that needs it.

    Without heartbeats: at the end of a flow, the thread that sends them takes a second to stop.

    Yields:
        The database.
    """
    home = tmp_path_factory.mktemp("prefect-server")
    kept = pytestconfig.cache.mkdir("prefect") / f"{prefect.__version__}.db"
    with (
        prefect_server(home, kept),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield home / "prefect.db"
        # The last lines and events are still on their way.
        APILogWorker.instance().drain()
        EventsWorker.drain_all()


@pytest.fixture
def async_flows() -> Iterator[None]:
    """Prefect leaves a connection to its own API open where an async flow was run.

    It is found by the test that ran the flow, which expects it, and not by a later one.
    """
    yield
    gc.collect()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release would build it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [built] = folder.glob("*.whl")
    return built


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
    """Makes a call of the API to its end, sync or async: one table for both."""

    def sync(credentials: RuddrCredentials, method: str, *arguments: Any) -> Any:
        return getattr(credentials.get_client(), method)(*arguments)

    def from_event_loop(credentials: RuddrCredentials, method: str, *arguments: Any) -> Any:
        return asyncio.run(getattr(credentials.get_client(), f"a{method}")(*arguments))

    return {"sync": sync, "async": from_event_loop}[request.param]
