"""A person is asked in Prefect, sees what it is about, and the answer holds for that alone."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_ruddr import RuddrCredentials, apply_stage_updates, undo_stage_updates
from prefect_ruddr.sandbox import Sandbox

from .conftest import ALWAYS, Ask
from .records import Ended, methods, patches, run, states


def update_of(sandbox: Sandbox, **fields: Any) -> dict[str, Any]:
    """Return an update of the stage `Discovery`, open and active at 0.25."""
    return {"id": stage_id(sandbox), **(fields or {"probability": 0.26})}


def stage_id(sandbox: Sandbox) -> str:
    return str(next(s["id"] for s in sandbox.stages if s["name"] == "Discovery"))


def test_the_form_shows_the_plan_its_digest_and_what_is_risky(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """Enough to say yes or no without looking anything up."""
    other = next(s for s in sandbox.stages if s["name"] == "Proposal")
    updates = [
        update_of(sandbox, probability=0.5, statusId="won"),
        {"id": other["id"], "name": "Offer"},
    ]
    asked = ask(apply_stage_updates, ruddr_credentials, updates, **ALWAYS)
    assert asked.form.splitlines() == [
        f"**Plan `{asked.digest}`** changes 2 stages in workspace **Acme Consulting**.",
        "The artifact `ruddr-stage-plan` of this run lists every field.",
        "",
        "- Discovery: probability 0.25 → 0.5, status_id open → won — **risky:** probability moves"
        " by 0.25, more than 0.2; status_id changes",
        "- Proposal: name Proposal → Offer",
    ]
    assert methods(sandbox).keys() == {"GET"}
    asked.answer(approve=False, digest=asked.digest)


def test_a_yes_to_the_plan_that_was_shown_has_it_written(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """The run goes on where it stopped and is Completed."""
    asked = ask(apply_stage_updates, ruddr_credentials, [update_of(sandbox)], **ALWAYS)
    ended = asked.answer(approve=True, digest=asked.digest)
    assert ended.state.is_completed()
    assert patches(sandbox) == [(stage_id(sandbox), {"probability": 0.26})]


def test_an_undo_asks_too(sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask) -> None:
    """The form shows what goes back."""
    first = run(apply_stage_updates, ruddr_credentials, [update_of(sandbox)])
    asked = ask(undo_stage_updates, ruddr_credentials, first.flow_run_id, **ALWAYS)
    assert "- Discovery (pipeline b9c85ac3): probability 0.26 → 0.25" in asked.form
    assert asked.answer(approve=True, digest=asked.digest).state.is_completed()
    assert sandbox.stage(stage_id(sandbox))["probability"] == 0.25


def test_what_was_edited_while_a_person_thought_is_a_conflict(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """The stages are read again after the yes."""
    asked = ask(apply_stage_updates, ruddr_credentials, [update_of(sandbox)], **ALWAYS)
    sandbox.edit(stage_id(sandbox), probability=0.4)
    ended = asked.answer(approve=True, digest=asked.digest)
    assert ended.outcomes == ["conflict"]
    assert sandbox.stage(stage_id(sandbox))["probability"] == 0.4
    assert patches(sandbox) == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param({"approve": False}, "plan {digest} was refused", id="no"),
        pytest.param({}, "plan {digest} was refused", id="neither yes nor no"),
        pytest.param(
            {"approve": True, "digest": "0123456789ab"},
            "the approval was for plan 0123456789ab, not for this one, {digest}",
            id="yes to another plan",
        ),
    ],
)
def test_anything_but_a_yes_to_this_plan_writes_nothing(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    ask: Ask,
    said: dict[str, Any],
    why: str,
) -> None:
    """The run is Failed, every update not attempted, and each says why."""
    asked = ask(apply_stage_updates, ruddr_credentials, [update_of(sandbox)], **ALWAYS)
    ended = asked.answer(**{"digest": asked.digest, **said})
    assert_nothing_written(ended, sandbox, why.format(digest=asked.digest))


def test_time_running_out_writes_nothing(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """Silence is no yes."""
    asked = ask(
        apply_stage_updates,
        ruddr_credentials,
        [update_of(sandbox)],
        approval="always",
        approval_timeout_seconds=1,
    )
    why = f"nobody approved plan {asked.digest} within 1 s"
    assert_nothing_written(asked.ended(), sandbox, why)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"statusId": "lost"}, id="status"),
        pytest.param({"isActive": False}, id="activity"),
        pytest.param({"opportunityPipelineId": 1}, id="pipeline"),
        pytest.param({"probability": 0.4501}, id="a large step"),
    ],
)
def test_risky_changes_are_asked_about(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask, fields: dict[str, Any]
) -> None:
    """A change of status, activity or pipeline, and a probability that moves by more than 0.2."""
    if "opportunityPipelineId" in fields:
        fields = {"opportunityPipelineId": sandbox.pipelines[1]["id"]}
    update = update_of(sandbox, **fields)
    asked = ask(apply_stage_updates, ruddr_credentials, [update], **{**ALWAYS, "approval": "risky"})
    assert "**risky:**" in asked.form
    asked.answer(approve=False)


@pytest.mark.parametrize(
    ("approval", "fields", "threshold"),
    [
        pytest.param("never", {"statusId": "lost"}, 0.2, id="never"),
        pytest.param("risky", {"probability": 0.45, "name": "Found"}, 0.2, id="not risky"),
        pytest.param("risky", {"probability": 0.95}, 0.7, id="not risky to this user"),
        pytest.param("always", {"probability": 0.25}, 0.2, id="nothing to change"),
    ],
)
def test_what_needs_no_approval_is_not_asked_about(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    approval: str,
    fields: dict[str, Any],
    threshold: float,
) -> None:
    """The run goes through without a pause."""
    update = update_of(sandbox, **fields)
    ended = run(
        apply_stage_updates,
        ruddr_credentials,
        [update],
        approval=approval,
        risky_probability_change=threshold,
        approval_timeout_seconds=1,
    )
    assert ended.state.is_completed()
    assert "PAUSED" not in states(ended.flow_run_id)
    held = sandbox.stage(update["id"])
    assert {name: held[name] for name in fields} == fields


def assert_nothing_written(ended: Ended, sandbox: Sandbox, why: str) -> None:
    assert ended.state.is_failed()
    (outcome,) = ended.report.outcomes
    assert outcome.outcome == "not_attempted"
    assert outcome.error == f"nothing was written: {why}"
    assert outcome.after == {"probability": 0.26}
    assert methods(sandbox).keys() == {"GET"}
