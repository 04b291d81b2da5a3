"""What is live against what was wanted: told, shown, and never written."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow

from prefect_ruddr import (
    DriftFound,
    InvalidStageUpdates,
    PlanNotFound,
    RuddrCredentials,
    StageDrift,
    apply_stage_updates,
    check_stage_drift,
    export_opportunity_stages_flow,
    undo_stage_updates,
)
from prefect_ruddr.records.events import DRIFT_EVENT, PLAN_EVENT, RUN_EVENT
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.stages.drift import DRIFT_KEY
from runs.records import artifacts, events, eventually, patches, run, table

WANTED = {"id": EXAMPLE_STAGE_ID, "probability": 0.6}
MORE = {"id": EXAMPLE_STAGE_ID, "probability": 0.7, "name": "Haggling"}


@pytest.fixture
def file(ruddr_credentials: RuddrCredentials, tmp_path: Path) -> str:
    """An export of the stages, as it would be in git."""
    path = str(tmp_path / "stages.yaml")
    run(export_opportunity_stages_flow, ruddr_credentials, path)
    return path


def test_without_drift_the_run_ends_well_and_says_so(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: str
) -> None:
    """No table, no event, no write."""
    ended = run(check_stage_drift, ruddr_credentials, file)
    assert ended.state.is_completed()
    assert ended.state.message == f"no drift: {len(sandbox.stages)} stages as in stages.yaml"
    assert not ended.result.found
    assert artifacts(ended.flow_run_id, DRIFT_KEY) == []
    assert patches(sandbox) == []


def test_with_drift_the_difference_is_published_and_one_event_tells_the_counts(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: str
) -> None:
    """A person reads what is live and what was wanted; an automation hears of it once."""
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.1, name="Haggling")
    ended = run(check_stage_drift, ruddr_credentials, file)
    assert ended.state.is_completed()
    assert ended.state.message
    assert ended.state.message.startswith("drift: 1 of 18 stages not as in stages.yaml")
    stage = {"stage": "Haggling", "stage id": EXAMPLE_STAGE_ID}
    assert table(ended.flow_run_id, DRIFT_KEY) == [
        stage | {"field": "name", "wanted": "Negotiation", "live": "Haggling"},
        stage | {"field": "probability", "wanted": 0.75, "live": 0.1},
    ]
    [event] = eventually(lambda: events(ended.flow_run_id, DRIFT_EVENT), bool)
    assert {key: event["payload"][key] for key in ("stages", "fields", "unchanged")} == {
        "stages": 1,
        "fields": 2,
        "unchanged": 17,
    }
    assert event["resource"]["ruddr.stages"] == "1"
    assert patches(sandbox) == []


def test_drift_fails_the_run_where_that_is_wanted(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: str
) -> None:
    """By an error that holds the difference, and survives the way between processes."""
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.1)
    ended = run(check_stage_drift, ruddr_credentials, file, fail_on_drift=True)
    assert ended.state.is_failed()
    assert isinstance(ended.result, DriftFound)
    assert "probability 0.1 → 0.75" in str(ended.result)
    assert pickle.loads(pickle.dumps(ended.result)).drift == ended.result.drift  # noqa: S301
    assert len(artifacts(ended.flow_run_id, DRIFT_KEY)) == 1


def test_what_a_run_wanted_is_compared(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """By its flow run's id, from the plan that it published."""
    wanted = run(apply_stage_updates, ruddr_credentials, [WANTED])
    same = run(check_stage_drift, ruddr_credentials, flow_run_id=wanted.flow_run_id)
    assert not same.result.found
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.5)
    drift: StageDrift = run(
        check_stage_drift, ruddr_credentials, flow_run_id=wanted.flow_run_id
    ).result
    [change] = drift.plan.changes
    assert change.label == "Negotiation (pipeline b9c85ac3)"  # there is another one
    assert (change.before, change.after) == ({"probability": 0.5}, {"probability": 0.6})


def test_what_the_last_run_of_a_deployment_wanted_is_compared(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Of its runs the last that had anything to change; a dry run wanted nothing."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow(apply_stage_updates)
        deployment = client.create_deployment(flow_id, "set-negotiation")

        def of_deployment(**parameters: Any) -> None:
            asked = client.create_flow_run_from_deployment(deployment)
            parameters["ruddr_credentials"] = ruddr_credentials
            # As a worker does it.
            run_flow(apply_stage_updates, asked, parameters)

        of_deployment(updates=[{**WANTED, "probability": 0.9}])
        of_deployment(updates=[WANTED])
        of_deployment(updates=[WANTED])
        of_deployment(updates=[{**WANTED, "probability": 0.2}], dry_run=True)
    name = "apply-stage-updates/set-negotiation"
    assert not run(check_stage_drift, ruddr_credentials, deployment=name).result.found
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.5)
    drift: StageDrift = run(check_stage_drift, ruddr_credentials, deployment=name).result
    assert drift.plan.changes[0].after == {"probability": 0.6}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        pytest.param({}, InvalidStageUpdates, "give one of", id="nothing"),
        pytest.param(
            {"path_or_url": "a.csv", "deployment": "a/b"},
            InvalidStageUpdates,
            "give one of",
            id="two of them",
        ),
        pytest.param({"deployment": "a/b"}, PlanNotFound, "no deployment 'a/b'", id="none such"),
    ],
)
def test_what_was_wanted_has_to_be_said_once(
    ruddr_credentials: RuddrCredentials,
    given: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    """By a file, a deployment or a flow run."""
    ended = run(check_stage_drift, ruddr_credentials, **given)
    assert isinstance(ended.result, error)
    assert message in str(ended.result)


def test_a_stage_that_was_deleted_is_drift(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: str
) -> None:
    """Not an error: the table says so, and the event counts it beside what differs."""
    wanted = run(apply_stage_updates, ruddr_credentials, [WANTED])
    sandbox.delete(EXAMPLE_STAGE_ID)
    ended = run(check_stage_drift, ruddr_credentials, file)
    assert ended.state.is_completed()
    assert ended.state.message
    assert ended.state.message.endswith("what was wanted: Negotiation (deleted)")
    [missing] = ended.result.missing
    assert missing.place.startswith("stages.yaml line ")
    why = f"id = {EXAMPLE_STAGE_ID}: the workspace has no such stage"
    deleted = {"field": "(deleted)", "wanted": None, "live": why, "stage id": EXAMPLE_STAGE_ID}
    assert table(ended.flow_run_id, DRIFT_KEY) == [{"stage": "Negotiation"} | deleted]
    [event] = eventually(lambda: events(ended.flow_run_id, DRIFT_EVENT), bool)
    assert (event["payload"]["stages"], event["payload"]["missing"]) == (0, 1)
    assert event["resource"]["ruddr.missing"] == "1"
    of_run = run(check_stage_drift, ruddr_credentials, flow_run_id=wanted.flow_run_id)
    label = "Negotiation (pipeline b9c85ac3)"
    assert table(of_run.flow_run_id, DRIFT_KEY) == [{"stage": label} | deleted]
    for stage in sandbox.stages[:3]:
        sandbox.delete(stage["id"])
    failed = run(check_stage_drift, ruddr_credentials, file, fail_on_drift=True)
    assert str(failed.result).endswith(" and 1 more (see artifact ruddr-stage-drift)")
    assert isinstance(failed.result, DriftFound)


def test_a_stage_that_a_file_names_and_that_is_not_there_is_drift(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tmp_path: Path
) -> None:
    """Deleted or renamed, nobody can tell; a name that two stages have is an error as before."""
    path = tmp_path / "stages.csv"
    path.write_text("stage,probability\nPrice Review,0.5\n")
    price_review = next(s for s in sandbox.stages if s["name"] == "Price Review")
    sandbox.edit(price_review["id"], name="Price Revue")
    ended = run(check_stage_drift, ruddr_credentials, str(path))
    [row] = table(ended.flow_run_id, DRIFT_KEY)
    assert (row["stage"], row["field"]) == ("Price Review", "(deleted or renamed)")
    assert row["live"].endswith("no stage is called that; the closest: 'Price Revue'")
    path.write_text("stage,probability\nPrice Review,0.5\nNegotiation,0.5\n")
    ended = run(check_stage_drift, ruddr_credentials, str(path))
    assert isinstance(ended.result, InvalidStageUpdates)
    assert [text.split(": ")[0] for text in ended.result.errors] == ["stages.csv line 3"]


def test_every_run_tells_its_plan_and_its_end_by_events_with_counts(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """In labels, as an automation's trigger compares nothing else."""
    ended = run(apply_stage_updates, ruddr_credentials, [WANTED])
    [plan] = eventually(lambda: events(ended.flow_run_id, PLAN_EVENT), bool)
    assert plan["payload"]["stages"] == plan["payload"]["fields"] == 1
    assert plan["resource"]["ruddr.dry_run"] == "false"
    [over] = eventually(lambda: events(ended.flow_run_id, RUN_EVENT), bool)
    assert (over["payload"]["updated"], over["payload"]["conflict"]) == (1, 0)
    assert (over["resource"]["ruddr.updated"], over["resource"]["ruddr.conflict"]) == ("1", "0")
    assert over["resource"]["ruddr.workspace.id"] == sandbox.workspace["id"]
    others = [
        (run(apply_stage_updates, ruddr_credentials, [WANTED]), "false", (0, 0, 1)),
        (run(apply_stage_updates, ruddr_credentials, [MORE], dry_run=True), "true", (1, 2, 0)),
        (run(undo_stage_updates, ruddr_credentials, ended.flow_run_id), "false", (1, 1, 0)),
    ]
    for other, dry_run, counts in others:
        [plan] = eventually(partial(events, other.flow_run_id, PLAN_EVENT), bool)
        assert plan["resource"]["ruddr.dry_run"] == dry_run
        assert tuple(plan["payload"][each] for each in ("stages", "fields", "unchanged")) == counts
