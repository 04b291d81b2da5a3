"""A Prefect API under every run, and a way to act while a request is on its way."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prefect_ruddr.sandbox import RecordedRequest
from prefect_ruddr.sandbox.recording import Recording

OnRequest = Callable[[Callable[[RecordedRequest], None]], None]


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
