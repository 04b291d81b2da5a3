"""Guards for unattended runs, and a plan that is reviewed today and applied later."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import Flow
from pydantic import SecretStr

from prefect_ruddr import (
    PlanNotFound,
    RuddrCredentials,
    apply_stage_file,
    apply_stage_plan,
    apply_stage_updates,
    recalibrate_stage_probabilities,
    undo_stage_updates,
)
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

from .conftest import ALWAYS, Ask
from .records import eventually, logs, methods, patches, run, table, task_runs
from .updates import updates_of


def test_more_changes_than_expected_stop_the_run(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A broken extract changes everything a little; nothing of it is written."""
    ended = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 4), most_changes=3)
    assert ended.outcomes == ["not_attempted"] * 4
    assert "4 stages would change, and most_changes is 3" in (ended.report.outcomes[0].error or "")
    assert methods(sandbox).keys() == {"GET"}
    assert (
        run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 4), most_changes=4).outcomes
        == ["updated"] * 4
    )


def test_where_approvals_are_on_a_person_is_asked_about_too_many(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """The form says why, and the answer counts."""
    asked = ask(
        apply_stage_updates,
        ruddr_credentials,
        updates_of(sandbox, 4),
        most_changes=3,
        approval="risky",
        approval_timeout_seconds=60,
    )
    assert "4 stages would change, and most_changes is 3" in asked.form
    ended = asked.answer(approve=True, digest=asked.digest)
    assert ended.outcomes == ["updated"] * 4


def test_whoever_is_asked_knows_the_stage_from_others_of_its_name(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """Also where the run is about one of them alone; the plan and the step call it the same."""
    one = {"id": EXAMPLE_STAGE_ID, "probability": 0.8}
    asked = ask(apply_stage_updates, ruddr_credentials, [one], **ALWAYS)
    label = "Negotiation (pipeline b9c85ac3)"
    assert f"- {label}: probability 0.75 → 0.8" in asked.form.splitlines()
    ended = asked.answer(approve=True, digest=asked.digest)
    assert [row["stage"] for row in table(ended.flow_run_id, PLAN_KEY)] == [label]
    assert [outcome.label for outcome in ended.report.outcomes] == [label]
    # The stage, the workspace before and after the answer, and the stage twice more.
    assert methods(sandbox) == {"GET": 5, "PATCH": 1}


@pytest.mark.parametrize(
    "flow",
    [
        apply_stage_updates,
        apply_stage_file,
        apply_stage_plan,
        undo_stage_updates,
        recalibrate_stage_probabilities,
    ],
    ids=lambda flow: flow.name,
)
def test_the_form_has_what_guards_a_run_right_after_the_input(flow: Flow[..., Any]) -> None:
    """The key, the input, and then whether to write at all and whom to ask."""
    shown = [
        name
        for name, field in sorted(
            flow.parameters.properties.items(), key=lambda each: each[1]["position"]
        )
    ]
    guards = ["dry_run", "approval"] if "dry_run" in shown else ["approval"]
    assert shown[0] == "ruddr_credentials"
    assert shown[2 : 2 + len(guards)] == guards


def test_other_fields_than_the_allowed_are_refused(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """By name, before anything is asked of Ruddr."""
    updates = [
        {"id": sandbox.stages[0]["id"], "probability": 0.37},
        {"id": sandbox.stages[1]["id"], "probability": 0.37, "isActive": False},
    ]
    ended = run(apply_stage_updates, ruddr_credentials, updates, only_fields=["probability"])
    assert ended.outcomes == ["not_attempted", "rejected"]
    assert "is_active: this run may set only probability" in (ended.report.outcomes[1].error or "")
    assert sandbox.requests == []


def test_a_plan_that_was_reviewed_is_what_happens(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The dry run's plan is carried out; what has moved on since is a conflict."""
    updates = updates_of(sandbox, 3)
    dry = run(apply_stage_updates, ruddr_credentials, updates, dry_run=True)
    sandbox.edit(updates[1]["id"], description="Edited since.")
    sandbox.edit(updates[2]["id"], description=updates[2]["description"])

    ended = run(apply_stage_plan, ruddr_credentials, dry.flow_run_id)

    said = {str(o.stage_id): o.outcome for o in ended.report.outcomes}
    assert said == {
        updates[0]["id"]: "updated",
        updates[1]["id"]: "conflict",
        updates[2]["id"]: "unchanged",
    }
    assert [stage_id for stage_id, _ in patches(sandbox)] == [updates[0]["id"]]


@pytest.mark.parametrize("which", ["unknown", "not a dry run"])
def test_only_a_dry_runs_plan_is_applied(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, which: str
) -> None:
    """Anything else is refused in one line, with nothing sent."""
    given: UUID = uuid4()
    if which == "not a dry run":
        given = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 1)).flow_run_id
    sandbox.clear_requests()
    ended = run(apply_stage_plan, ruddr_credentials, given)
    assert isinstance(ended.result, PlanNotFound)
    assert "\n" not in str(ended.result)
    assert sandbox.requests == []


def test_stages_of_one_name_are_told_apart_everywhere(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """By what the block calls their pipelines: in the plan, the form, the steps and the log."""
    pipelines = {f"Pipeline {at}": p["id"] for at, p in enumerate(sandbox.pipelines)}
    key = RuddrCredentials(
        api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url, pipelines=pipelines
    )
    names = {v: k for k, v in pipelines.items()}
    negotiations = [s for s in sandbox.stages if s["name"] == "Negotiation"]
    labels = {f"Negotiation ({names[s['opportunityPipelineId']]})" for s in negotiations}
    assert len(labels) == 2
    updates = [{"id": s["id"], "probability": 0.37} for s in negotiations]
    asked = ask(apply_stage_updates, key, updates, approval="always", approval_timeout_seconds=60)
    assert all(label in asked.form for label in labels)
    ended = asked.answer(approve=True, digest=asked.digest)
    assert {row["stage"] for row in table(ended.flow_run_id, PLAN_KEY)} == labels
    assert {outcome.label for outcome in ended.report.outcomes} == labels
    recorded = eventually(
        lambda: {t["name"] for t in task_runs(ended.flow_run_id) if ":" in t["name"]},
        lambda found: len(found) >= 2,
    )
    assert recorded == {f"{label}: probability" for label in labels}
    lines = eventually(
        lambda: [each["message"] for each in logs(ended.flow_run_id) if "→" in each["message"]],
        lambda found: len(found) >= 3,
    )
    assert all(any(line.startswith(label) for line in lines) for label in labels)
