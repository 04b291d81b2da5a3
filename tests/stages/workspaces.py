"""Workspaces and updates of every kind, and what Ruddr does with a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from prefect_ruddr import Stage, StagePlan, StageUpdate, Workspace
from prefect_ruddr.stages.stage import FIELD_NAMES, FieldName, FieldValue

Live = dict[UUID, Stage]

WORKSPACE = Workspace(id=UUID("5e0a3c62-66a7-4c2e-8d2b-6c1a0f3f9d41"), name="Acme Consulting")
OTHER_WORKSPACE = Workspace(id=UUID("0d0f9f5e-2c1b-4bb0-9f0b-6f5a8a7f1c22"), name="Acme Labs")
IDS = [UUID(int=number, version=4) for number in range(1, 7)]
PIPELINES = [UUID(int=number, version=4) for number in range(101, 104)]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = texts.filter(lambda text: bool(text.strip()))
descriptions = st.none() | texts
probabilities = st.integers(0, 10_000).map(lambda number: number / 10_000)
statuses = st.sampled_from(["open", "won", "lost"])
pipelines = st.sampled_from(PIPELINES)


def stages(pipeline: st.SearchStrategy[UUID | None] = pipelines) -> st.SearchStrategy[Stage]:
    """Any stage; `pipeline` may leave it out, as some of Ruddr's answers do."""
    return st.builds(
        Stage,
        id=st.sampled_from(IDS),
        name=names,
        description=descriptions,
        probability=probabilities,
        status_id=statuses,
        is_active=st.booleans(),
        opportunity_pipeline_id=pipeline,
        created_at=st.just(datetime(2025, 2, 10, tzinfo=UTC)),
    )


def workspaces(
    pipeline: st.SearchStrategy[UUID | None] = pipelines, *, min_size: int = 0
) -> st.SearchStrategy[Live]:
    """Any workspace: its stages by id."""
    listed = st.lists(
        stages(pipeline), unique_by=lambda stage: stage.id, min_size=min_size, max_size=4
    )
    return listed.map(lambda found: {stage.id: stage for stage in found})


def updates_of(live: Mapping[UUID, Stage]) -> st.SearchStrategy[list[StageUpdate]]:
    """Any valid updates of a workspace: at most one for a stage, in any order."""
    if not live:
        return st.just([])
    update = st.fixed_dictionaries(
        {"id": st.sampled_from(sorted(live))},
        optional={
            "name": names,
            "description": descriptions,
            "probability": probabilities,
            "status_id": statuses,
            "is_active": st.booleans(),
            "opportunity_pipeline_id": pipelines,
        },
    ).filter(lambda fields: len(fields) > 1)
    return st.lists(
        update.map(StageUpdate.model_validate), unique_by=lambda wanted: wanted.id, max_size=4
    )


@st.composite
def workspaces_and_updates(
    draw: st.DrawFn, pipeline: st.SearchStrategy[UUID | None] = pipelines
) -> tuple[Live, list[StageUpdate]]:
    """Any workspace, and any valid updates of it."""
    live = draw(workspaces(pipeline))
    return live, draw(updates_of(live))


def written(plan: StagePlan, live: Mapping[UUID, Stage]) -> Live:
    """Return the workspace after each change of the plan was sent, as Ruddr documents it."""
    after = dict(live)
    for change in plan.changes:
        after[change.stage_id] = patched(after[change.stage_id], change.update().fields)
    return after


def patched(stage: Stage, fields: Mapping[FieldName, FieldValue]) -> Stage:
    """Return the stage after a PATCH with these fields."""
    held: dict[str, Any] = stage.model_dump()
    return Stage.model_validate({**held, **fields})


def values(stages: Iterable[Stage]) -> dict[UUID, dict[FieldName, FieldValue]]:
    """Return what stages hold; a blank description and none are the same."""
    return {stage.id: {name: stage.value(name) for name in FIELD_NAMES} for stage in stages}
