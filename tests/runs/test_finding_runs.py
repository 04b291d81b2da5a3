"""An undo finds what a person means by an id, and refuses what it cannot trust."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.runtime import flow_run

from prefect_ruddr import (
    PlanNotFound,
    RuddrCredentials,
    StageUpdatesFailed,
    apply_stage_plan,
    apply_stage_updates,
    undo_stage_updates,
)
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.sandbox import Sandbox
from prefect_ruddr.stages.outcome import SUMMARY_KEY

from .records import artifacts, child_runs, markdown, patches, run
from .updates import updates_of


@flow
def nightly(ruddr_credentials: RuddrCredentials, batches: list[list[dict[str, Any]]]) -> str:
    """Apply updates in several runs below this one."""
    for updates in batches:
        apply_stage_updates(ruddr_credentials, updates)
    return str(flow_run.id)


def test_the_id_of_the_flow_above_stands_for_all_runs_below_it(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """In order: a stage that two of them changed goes back to what it was before both."""
    before = sandbox.stages
    ids = [stage["id"] for stage in before[:3]]
    batches = [
        [{"id": ids[0], "probability": 0.31}, {"id": ids[1], "probability": 0.32}],
        [{"id": ids[0], "probability": 0.41}, {"id": ids[2], "description": "New."}],
    ]
    parent = run(nightly, ruddr_credentials, batches)

    undo = run(undo_stage_updates, ruddr_credentials, parent.flow_run_id)

    assert undo.report.counts["updated"] == 3
    assert sandbox.stages == before


ATTEMPTED: list[UUID] = []


@flow(retries=1)
def tried_twice(ruddr_credentials: RuddrCredentials, updates: list[dict[str, Any]]) -> None:
    """Fail once after the updates are in effect."""
    report = apply_stage_updates(ruddr_credentials, updates)
    assert report.flow_run_id
    ATTEMPTED.append(report.flow_run_id)
    if len(ATTEMPTED) == 1:
        raise ValueError("the first attempt fails afterwards")


@pytest.mark.parametrize(
    "which",
    [
        "first attempt",
        pytest.param("parent", marks=pytest.mark.long),
        pytest.param("second attempt", marks=pytest.mark.long),
    ],
)
def test_each_attempts_id_stands_for_all_attempts(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, which: str
) -> None:
    """The second attempt found everything done, but it is not what a person means to undo."""
    ATTEMPTED.clear()
    before = sandbox.stages
    parent = run(tried_twice, ruddr_credentials, updates_of(sandbox, 3))
    assert parent.state.is_completed()
    given = {"parent": parent.flow_run_id, "first attempt": ATTEMPTED[0]}.get(which, ATTEMPTED[-1])

    undo = run(undo_stage_updates, ruddr_credentials, given)

    assert undo.report.counts["updated"] == 3
    assert sandbox.stages == before


@flow
def only_a_dry_run(ruddr_credentials: RuddrCredentials, updates: list[dict[str, Any]]) -> None:
    """Plan, and write nothing."""
    apply_stage_updates(ruddr_credentials, updates, dry_run=True)


@flow
def nothing_of_ours() -> None:
    """Do nothing."""


@flow
def with_a_child() -> None:
    """Run a flow that is none of ours."""
    nothing_of_ours()


def test_the_error_names_the_runs_there_are(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A flow that planned nothing to write has children, and they are listed."""
    parent = run(with_a_child)
    ended = run(undo_stage_updates, ruddr_credentials, parent.flow_run_id)
    assert isinstance(ended.result, PlanNotFound)
    assert "nor did the runs below it: " in str(ended.result)
    dry = run(only_a_dry_run, ruddr_credentials, updates_of(sandbox, 1))
    ended = run(undo_stage_updates, ruddr_credentials, dry.flow_run_id)
    assert isinstance(ended.result, PlanNotFound)
    assert "was not a dry run" in str(ended.result)


@flow
def two_dry_runs(ruddr_credentials: RuddrCredentials, updates: list[dict[str, Any]]) -> None:
    """Plan the same twice, as for two regions."""
    for _ in range(2):
        apply_stage_updates(ruddr_credentials, updates, dry_run=True)


def test_of_several_dry_runs_one_has_to_be_named(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The error names each, and the id of one is enough; nothing is written before that."""
    updates = updates_of(sandbox, 1)
    parent = run(two_dry_runs, ruddr_credentials, updates).flow_run_id
    with pytest.raises(
        PlanNotFound, match="left the plans of 2 dry runs: give the id of one"
    ) as error:
        apply_stage_plan(ruddr_credentials, parent)
    ids = [each["id"] for each in child_runs(parent)]
    assert len(ids) == 2
    assert all(each in str(error.value) for each in ids)
    assert patches(sandbox) == []
    apply_stage_plan(ruddr_credentials, ids[0])
    assert [stage_id for stage_id, _ in patches(sandbox)] == [updates[0]["id"]]


def test_what_ruddr_refused_and_a_person_set_since_stays(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The run did not write it, so it is not the undo's either."""
    updates = updates_of(sandbox, 2)
    sandbox.fail_next(method="PATCH", path=updates[0]["id"], status=409)
    first = run(apply_stage_updates, ruddr_credentials, updates)
    assert first.outcomes == ["failed", "updated"]
    sandbox.edit(updates[0]["id"], description=updates[0]["description"])
    sandbox.clear_requests()

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert undo.outcomes == ["updated"]
    assert [stage_id for stage_id, _ in patches(sandbox)] == [updates[1]["id"]]
    assert sandbox.stage(updates[0]["id"])["description"] == updates[0]["description"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda _: [], id="emptied"),
        pytest.param(lambda rows: rows[:-1], id="a row less", marks=pytest.mark.long),
        pytest.param(lambda rows: [{**row, "written": "no"} for row in rows], id="another value"),
        pytest.param(lambda rows: {"rows": rows}, id="another form", marks=pytest.mark.long),
        pytest.param(lambda _: [{}], id="no columns", marks=pytest.mark.long),
    ],
)
def test_a_damaged_record_of_outcomes_is_refused(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, damage: Any
) -> None:
    """In one line, and never as success."""
    first = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 3))
    (artifact,) = artifacts(first.flow_run_id, OUTCOMES_KEY)
    data = json.dumps(damage(json.loads(artifact["data"])))
    with get_client(sync_client=True) as client:
        client.update_artifact(UUID(artifact["id"]), ArtifactUpdate(data=data))
    sandbox.clear_requests()
    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)
    assert isinstance(undo.result, PlanNotFound)
    assert "what it wrote is not known" in str(undo.result)
    assert "\n" not in str(undo.result)
    assert sandbox.requests == []


def test_a_run_and_its_undo_say_what_they_do(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """By name, by the message of their state, and in the summary of the undo."""
    first = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 2))
    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(first.flow_run_id).name == "apply 2 updates"
        found = client.read_flow_run(undo.flow_run_id)
    assert found.name == "undo of apply 2 updates"
    assert found.state is not None
    assert found.state.message == "2 updated"
    assert markdown(undo.flow_run_id, SUMMARY_KEY).startswith("# Undo of apply 2 updates: 2 upd")


def test_what_cannot_be_undone_is_said_beforehand(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A live value beyond Ruddr's documented limits: the plan says so, and a dry undo too."""
    stage = sandbox.stages[0]
    # Read for the plan, and again before it is written.
    sandbox.fail_next(2, method="GET", path=stage["id"], replace={"probability": 0.33333})
    updates = [{"id": stage["id"], "probability": 0.4}]
    first = run(apply_stage_updates, ruddr_credentials, updates)
    sandbox.clear_faults()
    assert first.outcomes == ["updated"]
    (plan,) = artifacts(first.flow_run_id, "ruddr-stage-plan")
    assert "an undo could not restore it: probability = 0.33333" in plan["description"]
    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id, dry_run=True)
    assert isinstance(undo.result, StageUpdatesFailed)
    assert undo.outcomes == ["rejected"]
    assert "probability = 0.33333" in (undo.report.outcomes[0].error or "")
