"""Undoing what a run did, from its id alone, and nothing that somebody did since."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr

from prefect_ruddr import (
    PlanNotFound,
    RuddrCredentials,
    WorkspaceMismatch,
    apply_stage_updates,
    undo_stage_updates,
)
from prefect_ruddr.api.answers import ATTEMPTS
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.runs import applying
from prefect_ruddr.sandbox import Sandbox
from prefect_ruddr.stages.outcome import SUMMARY_KEY

from .records import Ended, artifacts, markdown, methods, patches, run, table


def updates_of(sandbox: Sandbox, count: int = 4) -> list[dict[str, Any]]:
    """Return updates that change something of every kind."""
    return [
        {
            "id": stage["id"],
            "name": f"{stage['name']}, {position}",
            "description": None if stage["description"] else "New.",
            "probability": 0.37,
            "statusId": "won" if stage["statusId"] == "open" else "open",
            "isActive": not stage["isActive"],
            "opportunityPipelineId": sandbox.pipelines[0]["id"],
        }
        for position, stage in enumerate(sandbox.stages[:count], 1)
    ]


def applied(sandbox: Sandbox, ruddr_credentials: RuddrCredentials) -> Ended:
    """Run an apply that is to be undone, and forget its requests."""
    ended = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox))
    assert ended.state.is_completed()
    sandbox.clear_requests()
    return ended


def test_an_undo_restores_what_a_run_changed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Every field of every stage is as it was; an undo of the undo does it all again."""
    before = sandbox.stages
    first = applied(sandbox, ruddr_credentials)
    after = sandbox.stages

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert undo.state.is_completed()
    assert undo.outcomes == ["updated"] * 4
    assert sandbox.stages == before
    assert len(patches(sandbox)) == 4

    redo = run(undo_stage_updates, ruddr_credentials, undo.flow_run_id)

    assert redo.state.is_completed()
    assert sandbox.stages == after


def test_what_somebody_changed_since_is_a_conflict_and_stays(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The other stages are undone; a stage that is back already is left alone."""
    before = sandbox.stages
    first = applied(sandbox, ruddr_credentials)
    edited, back_already, *rest = (str(o.stage_id) for o in first.report.outcomes)
    sandbox.edit(edited, probability=0.5)
    was = next(stage for stage in before if stage["id"] == back_already)
    fields = {key: value for key, value in was.items() if key not in {"id", "createdAt"}}
    sandbox.edit(back_already, **fields)

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert undo.state.is_failed()
    said = {str(o.stage_id): o for o in undo.report.outcomes}
    assert {key: o.outcome for key, o in said.items()} == {
        edited: "conflict",
        back_already: "unchanged",
        rest[0]: "updated",
        rest[1]: "updated",
    }
    assert "probability is 0.5" in (said[edited].error or "")
    assert "| conflict | " in markdown(undo.flow_run_id, SUMMARY_KEY)
    assert sorted(stage_id for stage_id, _ in patches(sandbox)) == sorted(rest)
    assert sandbox.stage(edited)["probability"] == 0.5
    untouched = [stage for stage in before if stage["id"] != edited]
    assert [stage for stage in sandbox.stages if stage["id"] != edited] == untouched


def test_a_dry_run_of_an_undo_writes_nothing(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """It shows the inverse of what was done."""
    first = applied(sandbox, ruddr_credentials)
    after = sandbox.stages
    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id, dry_run=True)
    assert undo.state.is_completed()
    assert undo.outcomes == ["planned"] * 4
    assert methods(sandbox).keys() == {"GET"}
    assert sandbox.stages == after
    done = {(r["stage id"], r["field"]): r["before"] for r in table(first.flow_run_id, PLAN_KEY)}
    back = {(r["stage id"], r["field"]): r["after"] for r in table(undo.flow_run_id, PLAN_KEY)}
    assert back == done


def test_a_dry_run_cannot_be_undone(sandbox: Sandbox, ruddr_credentials: RuddrCredentials) -> None:
    """There is nothing to undo, and the run says so without a request."""
    dry = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox), dry_run=True)
    sandbox.clear_requests()
    assert_no_plan(run(undo_stage_updates, ruddr_credentials, dry.flow_run_id), "not a dry run")
    assert sandbox.requests == []


def test_an_unknown_run_cannot_be_undone(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """One line names the id and says which one to give."""
    unknown = uuid4()
    ended = run(undo_stage_updates, ruddr_credentials, unknown)
    assert_no_plan(ended, f"flow run {unknown} left no plan that was to be written: give the id")
    assert sandbox.requests == []


def _another_value(rows: list[dict[str, Any]]) -> Any:
    return [{**rows[0], "before": 0.99}, *rows[1:]]


def _a_row_less(rows: list[dict[str, Any]]) -> Any:
    return rows[1:]


def _no_rows(rows: list[dict[str, Any]]) -> Any:
    return {"rows": rows}


def _no_id(rows: list[dict[str, Any]]) -> Any:
    return [{**rows[0], "stage id": 7}]


@pytest.mark.parametrize(
    "tamper",
    [
        pytest.param(_another_value, id="another value"),
        pytest.param(_a_row_less, id="a row less", marks=pytest.mark.long),
        pytest.param(_no_rows, id="no rows", marks=pytest.mark.long),
        pytest.param(_no_id, id="no id"),
    ],
)
def test_a_plan_that_was_tampered_with_is_refused(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tamper: Callable[[Any], Any]
) -> None:
    """The table is held against its digest before anything is asked of Ruddr."""
    first = applied(sandbox, ruddr_credentials)
    (artifact,) = artifacts(first.flow_run_id, PLAN_KEY)
    data = json.dumps(tamper(json.loads(artifact["data"])))
    with get_client(sync_client=True) as client:
        client.update_artifact(UUID(artifact["id"]), ArtifactUpdate(data=data))

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert_no_plan(undo, f"the plan of flow run {first.flow_run_id} ")
    assert sandbox.requests == []


def test_another_workspace_is_never_written(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The key is asked whose it is, and the undo ends there."""
    first = applied(sandbox, ruddr_credentials)
    with Sandbox(seed=2, rate=None) as other:
        theirs = RuddrCredentials(api_key=SecretStr(other.api_key), base_url=other.base_url)
        undo = run(undo_stage_updates, theirs, first.flow_run_id)
        assert isinstance(undo.result, WorkspaceMismatch)
        assert undo.state.is_failed()
        assert methods(other) == {"GET": 1}


def test_only_what_was_written_is_undone(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A stage that the run left alone, for whatever reason, is not in the undo."""
    before = sandbox.stages
    updates = updates_of(sandbox)
    sandbox.make_read_only(updates[1]["id"])
    first = run(apply_stage_updates, ruddr_credentials, [*updates, {"id": "?"}], on_invalid="skip")
    assert first.outcomes == ["updated", "failed", "updated", "updated", "rejected"]

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert undo.state.is_completed()
    assert undo.outcomes == ["updated"] * 3
    assert sandbox.stages == before


def test_what_a_run_did_not_get_to_is_not_its_to_undo(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have done it meanwhile, by hand: that is no conflict, and stays."""
    monkeypatch.setattr(applying, "CONCURRENCY", 1)
    updates = updates_of(sandbox)
    sandbox.fail_next(method="PATCH", path=updates[1]["id"], status=423)
    first = run(apply_stage_updates, ruddr_credentials, updates)
    assert first.outcomes == ["updated", "failed", "not_attempted", "not_attempted"]
    sandbox.edit(updates[3]["id"], probability=0.99)

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert undo.state.is_completed()
    assert {str(o.stage_id): o.outcome for o in undo.report.outcomes} == {
        updates[0]["id"]: "updated",
    }
    assert sandbox.stage(updates[3]["id"])["probability"] == 0.99


@pytest.mark.usefixtures("short_waits")
def test_a_run_that_prefect_tried_again_is_undone_whole(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Two plans under one flow run id: what either of them wrote is undone."""
    before = sandbox.stages
    updates = updates_of(sandbox)
    sandbox.fail_next(ATTEMPTS, method="PATCH", path=updates[2]["id"], status=503)
    tried_again = apply_stage_updates.with_options(retries=1)

    first = run(tried_again, ruddr_credentials, updates)

    assert first.state.is_completed()
    assert sorted(first.outcomes) == ["unchanged"] * 3 + ["updated"]
    assert len(artifacts(first.flow_run_id, PLAN_KEY)) == 2
    sent = [stage_id for stage_id, _ in patches(sandbox)]
    assert {stage_id: sent.count(stage_id) for stage_id in sent} == {
        update["id"]: 1 + ATTEMPTS * (update is updates[2]) for update in updates
    }

    undo = run(undo_stage_updates, ruddr_credentials, first.flow_run_id)

    assert undo.outcomes == ["updated"] * 4
    assert sandbox.stages == before


def test_a_pipeline_that_ruddr_left_out_cannot_be_restored() -> None:
    """The undo says so, and does not claim that the stage is back."""
    with Sandbox(rate=None, omit_pipeline=True) as sandbox:
        key = RuddrCredentials(api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url)
        first, second = sandbox.stages[:2]
        target = next(
            p["id"] for p in sandbox.pipelines if p["id"] != first["opportunityPipelineId"]
        )
        moved = run(
            apply_stage_updates,
            key,
            [
                {"id": first["id"], "name": "Moved", "opportunityPipelineId": target},
                {"id": second["id"], "probability": 0.37},
            ],
        )
        sandbox.clear_requests()

        undo = run(undo_stage_updates, key, moved.flow_run_id)

        assert undo.state.is_failed()
        assert {str(o.stage_id): (o.outcome, o.error) for o in undo.report.outcomes} == {
            first["id"]: (
                "rejected",
                "its earlier pipeline is not known: Ruddr had left it out",
            ),
            second["id"]: ("updated", None),
        }
        assert sandbox.stage(first["id"])["opportunityPipelineId"] == target
        assert [stage_id for stage_id, _ in patches(sandbox)] == [second["id"]]


UNDO_ELSEWHERE = """
import sys
from prefect_ruddr import RuddrCredentials, undo_stage_updates
report = undo_stage_updates(RuddrCredentials.from_env(), sys.argv[1])
print(report.model_dump_json())
"""


@pytest.mark.long
def test_another_process_can_undo_a_run(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A fresh interpreter needs the id of the run, the Prefect API and the key."""
    before = sandbox.stages
    first = applied(sandbox, ruddr_credentials)
    elsewhere = subprocess.run(
        [sys.executable, "-c", UNDO_ELSEWHERE, str(first.flow_run_id)],
        env={
            **os.environ,
            "PREFECT_API_URL": str(PREFECT_API_URL.value()),
            "RUDDR_API_KEY": sandbox.api_key,
            "RUDDR_BASE_URL": sandbox.base_url,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    said = json.loads(elsewhere.stdout.splitlines()[-1])
    assert said["counts"]["updated"] == 4
    assert said["flow_run_id"] != str(first.flow_run_id)
    assert sandbox.stages == before


def assert_no_plan(ended: Ended, says: str) -> None:
    assert ended.state.is_failed()
    assert isinstance(ended.result, PlanNotFound)
    assert says in str(ended.result)
    assert "\n" not in str(ended.result)
