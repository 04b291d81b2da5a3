"""What holds for every workspace and all valid updates of it: plan, apply, undo."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st
from prefect.client.schemas.objects import Artifact

from prefect_ruddr import StagePlan, StageUpdate, plan_stage_updates
from prefect_ruddr.records.artifacts import table_of
from prefect_ruddr.records.plan_table import plan_metadata, plan_rows, published_plan
from prefect_ruddr.stages.plan import merged

from .workspaces import (
    OTHER_WORKSPACE,
    PIPELINES,
    WORKSPACE,
    Live,
    pipelines,
    updates_of,
    values,
    workspaces,
    workspaces_and_updates,
    written,
)

LEFT_OUT = st.none() | pipelines


@st.composite
def chains(draw: st.DrawFn) -> tuple[Live, list[StagePlan], Live]:
    """A workspace, plans applied to it one after the other, and what that makes of it."""
    live = before = draw(workspaces(min_size=1))
    plans = []
    for _ in range(draw(st.integers(1, 4))):
        plans.append(plan_stage_updates(draw(updates_of(live)), live, WORKSPACE))
        live = written(plans[-1], live)
    return before, plans, live


@given(workspaces_and_updates())
def test_a_plan_gives_every_stage_what_was_asked_for(
    case: tuple[Live, list[StageUpdate]],
) -> None:
    """After it each stage holds the update's values, and in all else what it held before."""
    live, updates = case
    after = values(written(plan_stage_updates(updates, live, WORKSPACE), live).values())
    expected = values(live.values())
    for update in updates:
        expected[update.id] |= update.fields
    assert after == expected


@given(workspaces_and_updates())
def test_undoing_restores_the_workspace(case: tuple[Live, list[StageUpdate]]) -> None:
    """Applying a plan and then its inverse leaves every stage as it was."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    restored = written(plan.inverted(), written(plan, live))
    assert values(restored.values()) == values(live.values())


@given(workspaces_and_updates())
def test_the_inverse_of_the_inverse_is_the_plan(case: tuple[Live, list[StageUpdate]]) -> None:
    """Undoing an undo does again what was done."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    assert plan.inverted().inverted().changes == plan.changes


@given(workspaces_and_updates())
def test_planning_twice_gives_nothing_the_second_time(
    case: tuple[Live, list[StageUpdate]],
) -> None:
    """What was applied no longer differs, so a second run has nothing to send."""
    live, updates = case
    after = written(plan_stage_updates(updates, live, WORKSPACE), live)
    again = plan_stage_updates(updates, after, WORKSPACE)
    assert again.changes == ()
    assert again.unchanged == tuple(update.id for update in updates)


@given(workspaces_and_updates(LEFT_OUT))
def test_every_update_is_changed_or_unchanged(case: tuple[Live, list[StageUpdate]]) -> None:
    """A plan accounts for every stage, each in one place, in the order of the updates."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    changed = [change.stage_id for change in plan.changes]
    order = [update.id for update in updates]
    assert sorted([*changed, *plan.unchanged]) == sorted(order)
    assert changed == [stage_id for stage_id in order if stage_id in changed]


@given(workspaces_and_updates(LEFT_OUT))
def test_a_change_carries_only_fields_that_differ(case: tuple[Live, list[StageUpdate]]) -> None:
    """What a PATCH sends is wanted by the update, and not what the stage holds."""
    live, updates = case
    wanted = {update.id: update.fields for update in updates}
    for change in plan_stage_updates(updates, live, WORKSPACE).changes:
        sent = change.update().fields
        assert sent.items() <= wanted[change.stage_id].items()
        assert all(live[change.stage_id].value(name) != value for name, value in sent.items())


@given(workspaces_and_updates(LEFT_OUT))
def test_a_fresh_change_is_due_and_a_written_one_is_not(
    case: tuple[Live, list[StageUpdate]],
) -> None:
    """Nothing planned is a conflict by itself, and nothing written is due again."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    after = written(plan, live)
    assert {change.compared_with(live[change.stage_id]) for change in plan.changes} <= {
        "still valid"
    }
    assert {change.compared_with(after[change.stage_id]) for change in plan.changes} <= {
        "already applied"
    }


@given(chains())
def test_merged_plans_do_what_they_did_one_after_the_other(
    chain: tuple[Live, list[StagePlan], Live],
) -> None:
    """A run that was tried again left several plans; joined they go from first to last."""
    before, plans, after = chain
    assert values(written(merged(plans), before).values()) == values(after.values())


@given(chains())
def test_merged_plans_are_undone_at_once(chain: tuple[Live, list[StagePlan], Live]) -> None:
    """The inverse of what they did together restores the workspace before the first."""
    before, plans, after = chain
    restored = written(merged(plans).inverted(), after)
    assert values(restored.values()) == values(before.values())


def test_merged_plans_know_the_workspace_that_any_of_them_knows() -> None:
    """A plan without changes does not, and may come first."""
    nothing = StagePlan(workspace=None, changes=())
    assert merged([nothing, StagePlan(workspace=WORKSPACE, changes=())]).workspace == WORKSPACE


@given(workspaces_and_updates(LEFT_OUT), st.booleans())
def test_a_plan_survives_its_table(case: tuple[Live, list[StageUpdate]], dry_run: bool) -> None:
    """What an undo reads from Prefect is what was published, byte for byte."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    data, metadata = table_of(plan_rows(plan), plan_metadata(plan, dry_run=dry_run))
    published = Artifact(data=data, metadata_=metadata)
    read = published_plan(Artifact.model_validate_json(published.model_dump_json()))
    assert read.model_dump_json(exclude={"unchanged"}) == plan.model_dump_json(
        exclude={"unchanged"}
    )
    assert read.digest == plan.digest


@given(workspaces_and_updates(LEFT_OUT))
def test_a_plan_survives_json(case: tuple[Live, list[StageUpdate]]) -> None:
    """A plan as JSON is the plan."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    assert StagePlan.model_validate_json(plan.model_dump_json()) == plan


@given(workspaces_and_updates(), st.timedeltas(timedelta(0), timedelta(days=9)))
def test_the_digest_ignores_all_but_changes_and_workspace(
    case: tuple[Live, list[StageUpdate]], later: timedelta
) -> None:
    """Neither the time nor what needed no change nor a name that is not written counts."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    same = StagePlan(
        workspace=WORKSPACE.model_copy(update={"name": "Acme"}),
        changes=tuple(
            change.model_copy(update={"stage_name": "called otherwise"}) for change in plan.changes
        ),
        created_at=plan.created_at + later,
    )
    assert same.digest == plan.digest


@given(workspaces_and_updates(), st.data())
def test_the_digest_tells_plans_apart(
    case: tuple[Live, list[StageUpdate]], data: st.DataObject
) -> None:
    """Another workspace, another value, or one change less is another plan."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    assume(plan.changes)
    elsewhere = plan.model_copy(update={"workspace": OTHER_WORKSPACE})
    shorter = plan.model_copy(update={"changes": plan.changes[:-1]})
    other = plan_stage_updates(data.draw(updates_of(live)), live, WORKSPACE)
    assert len({plan.digest, elsewhere.digest, shorter.digest, plan.inverted().digest}) == 4
    assert (other.digest == plan.digest) == (other.changes == plan.changes)


@given(workspaces_and_updates(st.none()))
def test_an_unknown_pipeline_is_never_written_back(case: tuple[Live, list[StageUpdate]]) -> None:
    """Where an answer leaves the pipeline out, a move is planned and its inverse is refused."""
    live, updates = case
    plan = plan_stage_updates(updates, live, WORKSPACE)
    for change, back in zip(plan.changes, reversed(plan.inverted().changes), strict=True):
        assert change.unwritable() is None
        assert bool(back.unwritable()) == ("opportunity_pipeline_id" in change.after)
        if back.unwritable():
            assert back.compared_with(live[back.stage_id]) != "already applied"
        moved = live[change.stage_id].model_copy(update={"opportunity_pipeline_id": PIPELINES[0]})
        assert change.compared_with(moved) in {"still valid", "already applied"}
