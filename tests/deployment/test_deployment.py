"""From the form to the wire: a real server, a real worker, a real run of the deployment."""

from __future__ import annotations

import json
from inspect import getmembers
from typing import Any

import pytest
from prefect import Flow

from prefect_ruddr import flows
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_server import waiting_for

from .installation import Installation

FLOWS = [flow.name for _, flow in getmembers(flows) if isinstance(flow, Flow)]
ID = {"id": EXAMPLE_STAGE_ID}

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def form_run(installation: Installation, sandbox: Sandbox) -> Any:
    """A run with two of the six fields filled in, one of them null."""
    return installation.run(update=ID | {"probability": 0.0003, "description": None})


def patches(sandbox: Sandbox, stage_id: str) -> list[Any]:
    """The bodies of the PATCHes of a stage; no stage is written by two tests."""
    return [
        request.json
        for request in sandbox.requests
        if request.method == "PATCH" and request.path.endswith(stage_id)
    ]


def stage_named(sandbox: Sandbox, name: str) -> str:
    """The id of the only stage with a name."""
    [stage_id] = [str(stage["id"]) for stage in sandbox.stages if stage["name"] == name]
    return stage_id


def test_a_run_writes_what_was_filled_in_and_nothing_else(form_run: Any, sandbox: Sandbox) -> None:
    """Absent fields stay absent, null clears, and four decimals arrive as typed."""
    assert form_run["state_name"] == "Completed"
    assert patches(sandbox, EXAMPLE_STAGE_ID) == [{"description": None, "probability": 0.0003}]
    stage = sandbox.stage(EXAMPLE_STAGE_ID)
    assert (stage["description"], stage["probability"]) == (None, 0.0003)
    assert (stage["name"], stage["statusId"], stage["isActive"]) == ("Negotiation", "open", True)


def test_the_command_line_and_ruddrs_spelling_do_the_same(
    installation: Installation, sandbox: Sandbox
) -> None:
    """`prefect deployment run` takes the update as JSON, its fields named as Ruddr names them."""
    stage_id = stage_named(sandbox, "Discovery")
    update = {"id": stage_id, "statusId": "lost", "isActive": False}
    printed = installation.prefect(
        *("deployment", "run", "update-opportunity-stage/update-opportunity-stage", "--watch"),
        *("--watch-interval", "1", "--param", f"update={json.dumps(update)}"),
    )
    assert "Completed" in printed
    assert patches(sandbox, stage_id) == [{"statusId": "lost", "isActive": False}]


def test_every_flow_is_deployed(installation: Installation) -> None:
    """As prefect.yaml has it."""
    deployed = installation.api.post("/flows/filter", json={}).raise_for_status().json()
    assert {flow["name"] for flow in deployed} == set(FLOWS)
    deployment = installation.deployment()
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["parameters"].keys() == {"ruddr_credentials"}


def test_the_schedules_are_off_until_they_are_switched_on(installation: Installation) -> None:
    """Deploying starts nothing by itself; a schedule that is switched on plans runs."""
    deployments = [installation.deployment(flow) for flow in FLOWS]
    assert not [s for deployment in deployments for s in deployment["schedules"] if s["active"]]
    deployment = installation.deployment("apply-stage-file")
    [schedule] = deployment["schedules"]
    path = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
    assert installation.runs("apply-stage-file") == 0
    installation.api.patch(path, json={"active": True}).raise_for_status()
    for _ in waiting_for("planned runs"):
        if installation.runs("apply-stage-file"):
            break
    installation.api.patch(path, json={"active": False}).raise_for_status()


def test_one_run_starts_at_a_time(installation: Installation) -> None:
    """The limit is the pool's, so it holds over all deployments of it; not over paused runs."""
    pool = installation.get("/work_pools/ruddr")
    assert (pool["type"], pool["concurrency_limit"]) == ("process", 1)


def test_deploying_says_what_to_do_next(installation: Installation) -> None:
    """Save the key, start a worker."""
    assert "R.from_env().save" in installation.deploy_output
    assert "prefect worker start --pool ruddr" in installation.deploy_output


def test_the_key_is_in_nothing_that_prefect_keeps(
    installation: Installation, form_run: Any, sandbox: Sandbox
) -> None:
    """Not in the database (the block is encrypted), a log, a result, or what was printed."""
    kept = [path.read_bytes() for path in installation.files.rglob("*") if path.is_file()]
    assert any(EXAMPLE_STAGE_ID.encode() in content for content in kept)
    assert not any(sandbox.api_key.encode() in content for content in kept)
    logs = installation.api.post("/logs/filter", json={}).raise_for_status().json()
    assert any(log["flow_run_id"] == form_run["id"] for log in logs)
    assert sandbox.api_key not in json.dumps(logs)


def test_a_run_of_many_updates_keeps_each_as_filled_in(
    installation: Installation, sandbox: Sandbox
) -> None:
    """The list in the form of apply-stage-updates is as exact as the form of one update."""
    first, second = stage_named(sandbox, "Verbal Commit"), stage_named(sandbox, "Terms Sent")
    updates = [{"id": first, "description": None}, {"id": second, "is_active": False}]
    assert installation.run("apply-stage-updates", updates=updates)["state_name"] == "Completed"
    assert patches(sandbox, first) == [{"description": None}]
    assert patches(sandbox, second) == [{"isActive": False}]


def test_deploying_again_changes_nothing(installation: Installation) -> None:
    """The same deployment, and a limit of the pool that somebody has raised stays raised."""
    installation.api.patch("/work_pools/ruddr", json={"concurrency_limit": 3}).raise_for_status()
    before = installation.deployment()
    installation.deploy()
    assert installation.get("/work_pools/ruddr")["concurrency_limit"] == 3
    changing = {"updated", "last_polled", "schedules", "version", "version_id"}
    after = installation.deployment()
    assert {k: v for k, v in after.items() if k not in changing} == {
        k: v for k, v in before.items() if k not in changing
    }
    assert [s["id"] for s in after["schedules"]] == [s["id"] for s in before["schedules"]]
