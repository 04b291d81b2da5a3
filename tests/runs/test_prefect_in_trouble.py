"""Prefect's API may be slow or away: that is no reason to stop writing, or to lose the report."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

from prefect_ruddr import RuddrCredentials, apply_stage_updates
from prefect_ruddr.records import progress
from prefect_ruddr.runs import reporting
from prefect_ruddr.sandbox import Sandbox

from .records import methods
from .updates import updates_of

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_a_progress_that_cannot_be_shown_does_not_hold_up_the_writes(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every stage is written while Prefect owes the answer to the progress artifact."""
    answered = threading.Event()

    def owed(*_: object) -> object:
        answered.wait(60)
        return uuid4()

    monkeypatch.setattr(progress, "publish", owed)
    monkeypatch.setattr(progress, "LAST_UPDATE_SECONDS", 0.1)
    try:
        report = apply_stage_updates(ruddr_credentials, updates_of(sandbox))
        assert not answered.is_set()
    finally:
        answered.set()
    assert report.counts["updated"] == methods(sandbox)["PATCH"] == len(sandbox.stages)


def test_a_progress_that_is_refused_is_a_warning(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A courtesy does not fail a run."""

    def refused(*_: object) -> object:
        raise RuntimeError("503 from Prefect")

    monkeypatch.setattr(progress, "publish", refused)
    assert apply_stage_updates(ruddr_credentials, updates_of(sandbox)).succeeded
    assert "The progress of this run is not shown: 503 from Prefect" in caplog.text


def test_outcomes_that_cannot_be_published_are_returned_all_the_same(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What was written is written, and the caller gets the report of it."""

    def refused(*_: object) -> None:
        raise RuntimeError("503 from Prefect")

    monkeypatch.setattr(reporting, "publish_outcomes", refused)
    report = apply_stage_updates(ruddr_credentials, updates_of(sandbox))
    assert report.counts["updated"] == len(sandbox.stages)
    assert "The outcomes are not shown in Prefect: 503 from Prefect" in caplog.text
