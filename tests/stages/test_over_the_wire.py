"""The algebra again, with a real Ruddr of the sandbox's kind to say what a PATCH does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from prefect_ruddr import (
    RuddrApi,
    RuddrCredentials,
    StagePlan,
    StageUpdate,
    Workspace,
    plan_stage_updates,
)
from prefect_ruddr.api.reading import read_live_stages
from prefect_ruddr.sandbox import Sandbox

from .workspaces import descriptions, probabilities, statuses

STAGES = 230


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox of three pages, for all examples one after the other."""
    with Sandbox(stages=STAGES, rate=None) as running:
        yield running


@pytest.fixture(scope="module")
def api(sandbox: Sandbox) -> RuddrApi:
    """The calls of it."""
    key = SecretStr(sandbox.api_key)
    return RuddrCredentials(
        api_key=key, base_url=sandbox.base_url, requests_per_second=1000, burst=10_000
    ).get_client()


def fields_of(position: int) -> st.SearchStrategy[dict[str, Any]]:
    """Any fields; a name that no other stage has, which a move to another pipeline needs."""
    name = st.sampled_from([f"Stage {position}", f"  {position} | ✓"])
    moved = st.fixed_dictionaries({"name": name, "opportunity_pipeline_id": st.integers(0, 2)})
    other = st.fixed_dictionaries(
        {},
        optional={
            "name": name,
            "description": descriptions,
            "probability": probabilities,
            "status_id": statuses,
            "is_active": st.booleans(),
        },
    ).filter(bool)
    return other | st.builds(lambda one, two: one | two, other, moved)


wanted = st.dictionaries(st.integers(0, STAGES - 1), st.just(None), min_size=1, max_size=6).flatmap(
    lambda positions: st.fixed_dictionaries({at: fields_of(at) for at in positions})
)


@settings(max_examples=25)
@given(wanted)
def test_applying_and_undoing_restores_a_workspace(
    sandbox: Sandbox, api: RuddrApi, wanted: dict[int, dict[str, Any]]
) -> None:
    """Every stage of it is afterwards as it was before, to the letter."""
    before = sandbox.stages
    updates = [
        StageUpdate.model_validate({"id": before[at]["id"], **_with_pipeline(fields, sandbox)})
        for at, fields in wanted.items()
    ]
    live = read_live_stages(api, [update.id for update in updates]).stages
    plan = plan_stage_updates(updates, live, Workspace.model_validate(sandbox.workspace))

    send(api, plan)

    held = read_live_stages(api, [update.id for update in updates]).stages
    assert plan_stage_updates(updates, held, plan.workspace).changes == ()
    send(api, plan.inverted())
    assert sandbox.stages == before


@settings(max_examples=25)
@given(st.lists(st.integers(0, STAGES - 1), max_size=120), st.integers(0, 3))
def test_reading_finds_what_there_is_in_few_requests(
    sandbox: Sandbox, api: RuddrApi, positions: list[int], unknown: int
) -> None:
    """Never more than twice the fewest requests possible: by page, or one by one."""
    stages = sandbox.stages
    known = {UUID(stages[at]["id"]) for at in positions}
    ids = [*known, *(UUID(int=number, version=4) for number in range(unknown))]
    sandbox.clear_requests()

    found = read_live_stages(api, ids).stages

    assert found.keys() & set(ids) == known
    pages_of_all = -(-STAGES // 100)
    assert len(sandbox.requests) <= 2 * min(len(ids), pages_of_all)


def send(api: RuddrApi, plan: StagePlan) -> None:
    """Send a plan, a PATCH for each change."""
    for change in plan.changes:
        api.update_stage(change.update())


def _with_pipeline(fields: dict[str, Any], sandbox: Sandbox) -> dict[str, Any]:
    if "opportunity_pipeline_id" not in fields:
        return fields
    pipeline = sandbox.pipelines[fields["opportunity_pipeline_id"]]["id"]
    return {**fields, "opportunity_pipeline_id": pipeline}
