"""Renames over the wire: in the order that works, and a swap only where it is allowed."""

from __future__ import annotations

import pytest

from prefect_ruddr import RuddrCredentials, apply_stage_updates, undo_stage_updates
from prefect_ruddr.sandbox import Sandbox

from .records import methods, patches, run


def three(sandbox: Sandbox) -> list[dict[str, str]]:
    """Return three stages of one pipeline."""
    pipeline = sandbox.pipelines[0]["id"]
    found = [s for s in sandbox.stages if s["opportunityPipelineId"] == pipeline]
    return found[:3]


def test_a_chain_of_renames_is_written_from_its_end_and_undone(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A → B after B → C after C → D; Ruddr would refuse any other order with a 409."""
    before = sandbox.stages
    a, b, c = three(sandbox)
    updates = [
        {"id": a["id"], "name": b["name"]},
        {"id": b["id"], "name": c["name"]},
        {"id": c["id"], "name": "Something new"},
    ]

    ended = run(apply_stage_updates, ruddr_credentials, updates)

    assert ended.outcomes == ["updated"] * 3
    assert [stage_id for stage_id, _ in patches(sandbox)] == [c["id"], b["id"], a["id"]]
    undo = run(undo_stage_updates, ruddr_credentials, ended.flow_run_id)
    assert undo.outcomes == ["updated"] * 3
    assert sandbox.stages == before


def test_a_swap_is_told_before_anything_is_written(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The message says who swaps with whom, and what to choose."""
    a, b, c = three(sandbox)
    updates = [
        {"id": a["id"], "name": b["name"]},
        {"id": b["id"], "name": a["name"]},
        {"id": c["id"], "probability": 0.37},
    ]
    ended = run(apply_stage_updates, ruddr_credentials, updates)
    assert ended.outcomes == ["rejected", "rejected", "not_attempted"]
    assert "swap their names" in (ended.report.outcomes[0].error or "")
    assert "swap_names=True" in (ended.report.outcomes[0].error or "")
    assert methods(sandbox).keys() == {"GET"}


@pytest.mark.parametrize("circle", [2, pytest.param(3, marks=pytest.mark.long)])
def test_a_swap_goes_over_a_third_name_where_that_is_allowed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, circle: int
) -> None:
    """One stage steps aside first, and gets its last name at the end; the undo does the same."""
    before = sandbox.stages
    stages = three(sandbox)[:circle]
    updates = [
        {"id": stage["id"], "name": stages[at - 1]["name"], "probability": 0.37}
        for at, stage in enumerate(stages)
    ]

    ended = run(apply_stage_updates, ruddr_credentials, updates, swap_names=True)

    assert ended.outcomes == ["updated"] * circle
    assert len(patches(sandbox)) == circle + 1
    held = {s["id"]: s["name"] for s in sandbox.stages}
    assert all(held[update["id"]] == update["name"] for update in updates)
    assert ended.report.outcomes[0].before["name"] == stages[0]["name"]
    refused = run(undo_stage_updates, ruddr_credentials, ended.flow_run_id)
    assert refused.outcomes == ["rejected"] * circle
    undo = run(undo_stage_updates, ruddr_credentials, ended.flow_run_id, swap_names=True)
    assert undo.outcomes == ["updated"] * circle
    assert sandbox.stages == before


def test_a_swap_that_breaks_off_says_what_the_stage_is_called(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The second step is refused: the first stage keeps its third name, and the report says so."""
    a, b, _ = three(sandbox)
    sandbox.make_read_only(b["id"])
    updates = [{"id": a["id"], "name": b["name"]}, {"id": b["id"], "name": a["name"]}]
    ended = run(apply_stage_updates, ruddr_credentials, updates, swap_names=True)
    assert ended.outcomes == ["failed", "failed"]
    aside = sandbox.stage(a["id"])["name"] if len(patches(sandbox)) == 2 else None
    said = " ".join(outcome.error or "" for outcome in ended.report.outcomes)
    assert aside is None or repr(aside) in said
