"""A person is asked in Prefect, sees what it is about, and the answer holds for that alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from prefect_ruddr import RuddrCredentials, apply_stage_updates, approval, undo_stage_updates
from prefect_ruddr.reports import PLAN_KEY
from prefect_ruddr.sandbox import Sandbox

from .records import Ended, artifacts, eventually, flow_runs_that_wait, methods, patches, run


class Asked:
    """A flow run, in a thread of its own, that waits for an answer.

    Args:
        ended: How it ends, in a while.
        name: The name of the flow run.
    """

    def __init__(self, ended: Future[Ended], name: str) -> None:
        self._ended = ended
        (paused,) = eventually(lambda: flow_runs_that_wait(name), lambda found: found)
        self.flow_run_id = UUID(paused["id"])
        self._keyset = paused["state"]["state_details"]["run_input_keyset"]
        self.form: str = json.loads(self._input("description"))
        self._input("schema")  # comes after the state; an answer before it would be refused
        (plan,) = artifacts(self.flow_run_id, PLAN_KEY)
        self.digest: str = plan["metadata_"]["digest"]

    def answer(self, **said: Any) -> Ended:
        """Answer as Prefect's UI does, and wait for the end."""
        with get_client(sync_client=True) as client:
            client.resume_flow_run(self.flow_run_id, run_input=said)
        return self.ended()

    def ended(self) -> Ended:
        """Wait for the end."""
        return self._ended.result(timeout=60)

    def _input(self, key: str) -> str:
        def read() -> str | None:
            with get_client(sync_client=True) as client:
                try:
                    return client.read_flow_run_input(self.flow_run_id, self._keyset[key])
                except PrefectHTTPStatusError:
                    return None

        return str(eventually(read, lambda found: found))


Ask = Callable[..., Asked]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """Start a flow in a thread, and wait until it waits."""
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.05)
    with ThreadPoolExecutor() as threads:

        def start(flow: Any, *args: Any, **kwargs: Any) -> Asked:
            name = f"asks-{uuid4()}"
            kwargs.setdefault("approval_timeout_seconds", 30)
            named = flow.with_options(flow_run_name=name)
            return Asked(threads.submit(copy_context().run, run, named, *args, **kwargs), name)

        yield start


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
    asked = ask(apply_stage_updates, ruddr_credentials, updates, approval="always")
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
    asked = ask(apply_stage_updates, ruddr_credentials, [update_of(sandbox)], approval="always")
    ended = asked.answer(approve=True, digest=asked.digest)
    assert ended.state.is_completed()
    assert patches(sandbox) == [(stage_id(sandbox), {"probability": 0.26})]


def test_an_undo_asks_too(sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask) -> None:
    """The form shows what goes back."""
    first = run(apply_stage_updates, ruddr_credentials, [update_of(sandbox)])
    asked = ask(undo_stage_updates, ruddr_credentials, first.flow_run_id, approval="always")
    assert "- Discovery: probability 0.26 → 0.25" in asked.form
    assert asked.answer(approve=True, digest=asked.digest).state.is_completed()
    assert sandbox.stage(stage_id(sandbox))["probability"] == 0.25


def test_what_was_edited_while_a_person_thought_is_a_conflict(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, ask: Ask
) -> None:
    """The stages are read again after the yes."""
    asked = ask(apply_stage_updates, ruddr_credentials, [update_of(sandbox)], approval="always")
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
    asked = ask(apply_stage_updates, ruddr_credentials, [update_of(sandbox)], approval="always")
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
    asked = ask(apply_stage_updates, ruddr_credentials, [update], approval="risky")
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
    held = sandbox.stage(update["id"])
    assert {name: held[name] for name in fields} == fields


def assert_nothing_written(ended: Ended, sandbox: Sandbox, why: str) -> None:
    assert ended.state.is_failed()
    (outcome,) = ended.report.outcomes
    assert outcome.outcome == "not_attempted"
    assert outcome.error == f"nothing was written: {why}"
    assert outcome.after == {"probability": 0.26}
    assert methods(sandbox).keys() == {"GET"}
