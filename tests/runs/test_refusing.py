"""Updates that are wrong: all of them are named at once, and nothing wrong is ever sent."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_ruddr import RuddrCredentials, StageUpdatesFailed, apply_stage_updates
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.sandbox import Sandbox

from .records import methods, patches, run, table

UNKNOWN_ID = "0c6d4e1f-5a53-4b0e-9a43-3d0f6c1f2b77"


def rows(sandbox: Sandbox) -> list[Any]:
    """Return one good row, and then one of every kind of bad ones."""
    ids = [stage["id"] for stage in sandbox.stages]
    return [
        {"id": ids[0], "probability": 0.37},
        {"id": ids[1], "probability": 1.5, "name": ""},
        {"id": ids[2], "colour": "red"},
        {"id": ids[3]},
        {"id": ids[4], "name": "Twice"},
        {"id": ids[4], "probability": 0.5},
        {"name": "Whose?"},
        None,
    ]


def test_every_error_of_every_row_is_in_one_report(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Not even a GET is sent, and the good rows say why they were not."""
    ended = run(apply_stage_updates, ruddr_credentials, rows(sandbox))

    assert ended.state.is_failed()
    assert sandbox.requests == []
    assert ended.outcomes == ["not_attempted"] + ["rejected"] * 7
    said = [outcome.error or "" for outcome in ended.report.outcomes]
    assert said[0].startswith("nothing was sent, as 7 of 8 updates were rejected: correct them")
    assert "probability = 1.5" in said[1]
    assert "name = ''" in said[1]
    assert "colour: no such field" in said[2]
    assert "no field to set" in said[3]
    assert said[4] == said[5]
    assert "updates 5, 6 are all about it" in said[4]
    assert said[6] == "id: missing"
    assert "None is no update" in said[7]
    assert [row["error"] for row in table(ended.flow_run_id, OUTCOMES_KEY)] == said


def test_skipping_applies_the_good_rows_and_still_fails(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """What is good is sent as it is, what is bad never; the run does not hide it."""
    given = rows(sandbox)
    ended = run(apply_stage_updates, ruddr_credentials, given, on_invalid="skip")
    assert ended.state.is_failed()
    assert ended.outcomes == ["updated"] + ["rejected"] * 7
    assert patches(sandbox) == [(given[0]["id"], {"probability": 0.37})]


@pytest.mark.parametrize("on_invalid", ["stop", "skip"])
def test_a_stage_the_workspace_lacks_is_an_error(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_invalid: str
) -> None:
    """It is found by reading; no PATCH goes to it, nor to the others unless the caller says."""
    stage = sandbox.stages[0]["id"]
    updates = [{"id": stage, "probability": 0.37}, {"id": UNKNOWN_ID, "probability": 0.37}]

    ended = run(apply_stage_updates, ruddr_credentials, updates, on_invalid=on_invalid)

    assert ended.state.is_failed()
    good, bad = ended.report.outcomes
    assert (bad.outcome, bad.error) == (
        "rejected",
        f"id = {UNKNOWN_ID}: the workspace has no such stage",
    )
    if on_invalid == "stop":
        assert good.outcome == "not_attempted"
        assert methods(sandbox).keys() == {"GET"}
    else:
        assert good.outcome == "updated"
        assert patches(sandbox) == [(stage, {"probability": 0.37})]


def test_the_error_counts_the_outcomes_and_names_the_first(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """One line for a notification, and the whole report with it."""
    with pytest.raises(StageUpdatesFailed) as raised:
        apply_stage_updates(ruddr_credentials, rows(sandbox)[1:])
    message = str(raised.value)
    assert message.startswith("7 rejected: update 1 (")
    assert message.endswith("; and 4 more (see artifact ruddr-stage-summary)")
    assert "\n" not in message
    assert len(raised.value.report.outcomes) == 7


def test_retryable_updates_of_a_stopped_run_can_be_given_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The good rows of a run that was stopped for a bad one, and only they."""
    stopped = run(apply_stage_updates, ruddr_credentials, rows(sandbox)).report
    ended = run(apply_stage_updates, ruddr_credentials, stopped.retryable())
    assert ended.outcomes == ["updated"]
    assert sandbox.stage(stopped.outcomes[0].stage_id)["probability"] == 0.37
