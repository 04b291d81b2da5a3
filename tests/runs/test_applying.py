"""Applying updates: the difference is sent and nothing else, and once is enough."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials, StageUpdate, apply_stage_updates
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.runs import applying
from prefect_ruddr.sandbox import Sandbox

from .records import eventually, methods, patches, recorded_steps, run, table
from .updates import updates_of


def credentials(sandbox: Sandbox) -> RuddrCredentials:
    """Return the key to a sandbox that the test has made itself."""
    return RuddrCredentials(
        api_key=SecretStr(sandbox.api_key),
        base_url=sandbox.base_url,
        requests_per_second=1000,
        burst=1000,
    )


def test_only_the_fields_that_differ_are_sent_and_once_is_enough(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The first run sends one PATCH for each stage that differs, the second none."""
    first, second, third = sandbox.stages[:3]
    updates: list[Any] = [
        {"id": first["id"], "probability": 0.37, "name": first["name"]},
        {"id": second["id"], "name": second["name"], "isActive": second["isActive"]},
        StageUpdate(id=third["id"], description=" ", status_id="open", probability=0.37),
    ]

    ended = run(apply_stage_updates, ruddr_credentials, updates)

    assert ended.state.is_completed()
    assert ended.outcomes == ["updated", "unchanged", "updated"]
    assert sorted(patches(sandbox)) == sorted(
        [
            (first["id"], {"probability": 0.37}),
            (third["id"], {"statusId": "open", "probability": 0.37}),
        ]
    )
    sandbox.clear_requests()

    again = run(apply_stage_updates, ruddr_credentials, updates)

    assert again.state.is_completed()
    assert again.outcomes == ["unchanged"] * 3
    assert methods(sandbox).keys() == {"GET"}


def test_a_run_without_changes_sends_one_get_for_each_hundred_stages() -> None:
    """250 stages that hold everything already: three pages are read, nothing else."""
    with Sandbox(stages=250, rate=None) as sandbox:
        updates = [{"id": s["id"], "probability": s["probability"]} for s in sandbox.stages]
        ended = run(apply_stage_updates, credentials(sandbox), updates)
        assert ended.report.counts["unchanged"] == 250
        assert ended.state.is_completed()
        assert methods(sandbox) == {"GET": 3}


def test_a_dry_run_reads_plans_and_stops_there(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """It sends GETs only, publishes the plan, says what would change, and is Completed."""
    before = sandbox.stages
    updates = [{"id": before[0]["id"], "probability": 0.37, "statusId": before[0]["statusId"]}]

    ended = run(apply_stage_updates, ruddr_credentials, updates, dry_run=True)

    assert ended.state.is_completed()
    (outcome,) = ended.report.outcomes
    assert outcome.outcome == "planned"
    assert outcome.stage_name == before[0]["name"]
    assert outcome.before == {"probability": before[0]["probability"]}
    assert outcome.after == {"probability": 0.37}
    assert methods(sandbox).keys() == {"GET"}
    assert [row["after"] for row in table(ended.flow_run_id, PLAN_KEY)] == [0.37]
    assert sandbox.stages == before


def test_outcomes_come_in_input_order(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """However the steps overtake each other, outcome n is about update n."""
    ids = [stage["id"] for stage in sandbox.stages][::-1]
    updates = [{"id": stage_id, "description": f"About {stage_id}."} for stage_id in ids]
    report = run(apply_stage_updates, ruddr_credentials, updates).report
    assert [str(outcome.stage_id) for outcome in report.outcomes] == ids
    assert report.counts == {
        "failed": 0,
        "conflict": 0,
        "rejected": 0,
        "not_attempted": 0,
        "updated": len(ids),
        "planned": 0,
        "unchanged": 0,
    }
    assert all(outcome.attempts == 1 for outcome in report.outcomes)
    assert {s["id"]: s["description"] for s in sandbox.stages} == {
        stage_id: f"About {stage_id}." for stage_id in ids
    }


@pytest.mark.parametrize("known", [True, False], ids=["answered", "left out"])
def test_a_pipeline_can_be_set_whether_or_not_answers_tell_it(known: bool) -> None:
    """Some answers of Ruddr's leave the pipeline out; a move is confirmed all the same."""
    with Sandbox(rate=None, omit_pipeline=not known) as sandbox:
        stage = sandbox.stages[0]
        target = next(
            p["id"] for p in sandbox.pipelines if p["id"] != stage["opportunityPipelineId"]
        )
        update = {"id": stage["id"], "name": "Moved", "opportunityPipelineId": target}
        ended = run(apply_stage_updates, credentials(sandbox), [update])
        assert ended.outcomes == ["updated"]
        assert sandbox.stage(stage["id"])["opportunityPipelineId"] == target


def test_no_updates_are_no_trouble(ruddr_credentials: RuddrCredentials, sandbox: Sandbox) -> None:
    """An empty source is a run that sends nothing and is Completed."""
    ended = run(apply_stage_updates, ruddr_credentials, [])
    assert ended.state.is_completed()
    assert ended.report.summary() == "no updates"
    assert sandbox.requests == []


def test_sixteen_steps_wait_for_ruddr_at_once() -> None:
    """As many as are allowed are on their way together, and no more."""
    most = applying.CONCURRENCY
    with Sandbox(stages=2 * most, rate=None) as sandbox:
        sandbox.fail_next(most, method="PATCH", hang=True)
        impatient = credentials(sandbox).model_copy(update={"timeout_seconds": 5.0})
        ended = run(apply_stage_updates, impatient, updates_of(sandbox))
        assert ended.report.counts["updated"] == 2 * most
        asked = [stage_id for stage_id, _ in patches(sandbox)]
    # The first are not answered. What comes next is one of them again, and not another stage.
    assert len(set(asked[:most])) == most
    assert asked[most] in asked[:most]


@pytest.mark.long
def test_a_thousand_updates_in_one_run() -> None:
    """Each is sent once, each is accounted for, each is a task run in Prefect."""
    with Sandbox(stages=1000, rate=None) as sandbox:
        updates = updates_of(sandbox)
        ended = run(apply_stage_updates, credentials(sandbox), updates)
        assert ended.state.is_completed()
        assert ended.report.counts["updated"] == 1000
        assert sorted(stage_id for stage_id, _ in patches(sandbox)) == sorted(
            stage["id"] for stage in sandbox.stages
        )
        assert {s["description"] for s in sandbox.stages} == {u["description"] for u in updates}
        steps_and_reading = 1000 + 1
        eventually(
            lambda: recorded_steps(ended.flow_run_id),
            lambda recorded: recorded == steps_and_reading,
            seconds=300,
        )
