"""A Prefect API under every run, and a way to act while a request is on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from prefect_ruddr.runs import approval
from prefect_ruddr.sandbox import RecordedRequest
from prefect_ruddr.sandbox.recording import Recording

from .asking import Asked
from .records import flow_runs_that_wait, run

Ask = Callable[..., Asked]
OnRequest = Callable[[Callable[[RecordedRequest], None]], None]


ALWAYS: dict[str, Any] = {"approval": "always", "approval_timeout_seconds": 30}
"""Ask about every plan, and do not wait for the answer for longer than a test may take."""


@pytest.fixture(autouse=True)
def _prefect(prefect_api: None) -> None:
    """Flows run against the session's Prefect API."""


@pytest.fixture
def on_request(monkeypatch: pytest.MonkeyPatch) -> OnRequest:
    """Call a function with each request that arrives, before it is carried out."""

    def call(function: Callable[[RecordedRequest], None]) -> None:
        record = Recording.add

        def record_and_call(recording: Recording, request: RecordedRequest) -> None:
            record(recording, request)
            function(request)

        monkeypatch.setattr(Recording, "add", record_and_call)

    return call


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Start a flow in a thread, and wait until it waits."""
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.05)
    with ThreadPoolExecutor() as threads:

        def start(flow: Any, *args: Any, **kwargs: Any) -> Asked:
            others = [waiting["id"] for waiting in flow_runs_that_wait()]
            return Asked(threads.submit(copy_context().run, run, flow, *args, **kwargs), others)

        yield start
