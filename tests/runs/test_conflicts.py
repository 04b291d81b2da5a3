"""A stage that somebody edits between plan and write is not overwritten."""

from __future__ import annotations

from typing import Any

import pytest
from prefect import flow

from prefect_ruddr import (
    RuddrCredentials,
    StageOutcome,
    StageUpdate,
    Workspace,
    WorkspaceMismatch,
    apply_stage_updates,
    plan_stage_updates,
)
from prefect_ruddr.runs import applying
from prefect_ruddr.sandbox import RecordedRequest, Sandbox
from prefect_ruddr.stages.plan import StagePlan

from .conftest import OnRequest
from .records import methods, patches, run
from .updates import updates_of

OTHER_WORKSPACE = Workspace(id="0d0f9f5e-2c1b-4bb0-9f0b-6f5a8a7f1c22", name="Acme Labs")


@pytest.fixture
def old_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every plan is older than plans may be, as if more than a minute had gone by."""
    monkeypatch.setattr(applying, "FRESH_SECONDS", -1.0)


def after_the_plan(
    on_request: OnRequest, sandbox: Sandbox, edits: dict[str, dict[str, Any]]
) -> None:
    """Edit stages, by id, when the workspace is asked for the second time: to read again."""
    asked = []

    def edit(request: RecordedRequest) -> None:
        if request.path.endswith("/workspace"):
            asked.append(request)
            if len(asked) == 2:
                for stage_id, fields in edits.items():
                    sandbox.edit(stage_id, **fields)

    on_request(edit)


@pytest.mark.usefixtures("old_plans")
def test_an_edited_stage_is_a_conflict_and_is_not_written(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """Live equal to after is unchanged, live unlike before is a conflict, the rest is written."""
    same, edited, done, elsewhere = (stage["id"] for stage in sandbox.stages[:4])
    after_the_plan(
        on_request,
        sandbox,
        {
            edited: {"probability": 0.11},
            done: {"probability": 0.37},
            elsewhere: {"description": "Edited."},
        },
    )
    updates = [{"id": i, "probability": 0.37} for i in (same, edited, done, elsewhere)]

    ended = run(apply_stage_updates, ruddr_credentials, updates)

    assert ended.state.is_failed()
    assert ended.outcomes == ["updated", "conflict", "unchanged", "updated"]
    assert sorted(stage_id for stage_id, _ in patches(sandbox)) == sorted([same, elsewhere])
    assert sandbox.stage(edited)["probability"] == 0.11
    said = ended.report.outcomes[1].error or ""
    assert said.endswith("was changed since it was planned, not written: probability is 0.11 now")
    assert not ended.report.outcomes[1].retryable


@pytest.mark.usefixtures("old_plans")
def test_an_old_plan_is_read_again_once(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """One page and the workspace before planning, the same before writing: not once per stage."""
    ended = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox))
    assert ended.state.is_completed()
    assert methods(sandbox) == {"GET": 4, "PATCH": 18}


def test_a_fresh_plan_is_not_read_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """What was read a moment ago is good enough."""
    run(apply_stage_updates, ruddr_credentials, updates_of(sandbox))
    assert methods(sandbox) == {"GET": 2, "PATCH": 18}


@pytest.mark.usefixtures("old_plans")
def test_a_stage_that_is_gone_at_the_second_reading_fails(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """Its outcome says so; the other stages are written."""
    first, second = (stage["id"] for stage in sandbox.stages[:2])

    def hide(request: RecordedRequest) -> None:
        if request.path.endswith("/workspace"):
            sandbox.fail_next(2, status=404, path=first)

    on_request(hide)
    updates = [{"id": i, "probability": 0.37} for i in (first, second)]
    sandbox.clear_requests()
    ended = run(apply_stage_updates, ruddr_credentials, updates)
    assert ended.outcomes[1] == "updated"
    assert ended.outcomes[0] == "failed"
    assert "HTTP 404" in (ended.report.outcomes[0].error or "")


def test_a_plan_for_another_workspace_is_refused_before_any_write(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The key is asked whose it is, and that is all."""
    stage = ruddr_credentials.get_client().list_stages()[0]
    update = StageUpdate(id=stage.id, probability=0.37)
    plan = plan_stage_updates([update], {stage.id: stage}, OTHER_WORKSPACE)
    sandbox.clear_requests()

    ended = run(apply_that_plan, ruddr_credentials, plan)

    assert isinstance(ended.result, WorkspaceMismatch)
    assert str(ended.result) == (
        f"the plan is for workspace Acme Labs ({OTHER_WORKSPACE.id}), but the key belongs to"
        f" Acme Consulting ({sandbox.workspace['id']}): give that workspace's credentials"
    )
    assert methods(sandbox) == {"GET": 1}


@flow
def apply_that_plan(ruddr_credentials: RuddrCredentials, plan: StagePlan) -> list[StageOutcome]:
    """Apply a plan that was made elsewhere."""
    return list(apply_plan(ruddr_credentials, plan, reread=True).values())
