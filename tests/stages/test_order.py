"""Renames that depend on each other are written in the order that works."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr import Stage, StageUpdate, plan_stage_updates
from prefect_ruddr.stages.order import WriteOrder, over_a_third_name, write_order
from prefect_ruddr.stages.plan import StageChange

PIPELINES = [UUID(int=number, version=4) for number in (101, 102)]
IDS = [UUID(int=number, version=4) for number in range(1, 7)]


def stage(at: int, name: str, pipeline: UUID | None = PIPELINES[0]) -> Stage:
    return Stage(
        id=IDS[at],
        name=name,
        description=None,
        probability=0.5,
        status_id="open",
        is_active=True,
        opportunity_pipeline_id=pipeline,
        created_at=datetime(2025, 2, 10, tzinfo=UTC),
    )


def ordered(stages: list[Stage], names: dict[int, str]) -> WriteOrder:
    live = {each.id: each for each in stages}
    updates = [StageUpdate(id=IDS[at], name=name) for at, name in names.items()]
    return write_order(plan_stage_updates(updates, live, None).changes, live)


def renamed(changes: tuple[StageChange, ...]) -> list[tuple[str, object]]:
    return [(change.stage_name, change.after["name"]) for change in changes]


def test_the_one_that_gives_a_name_up_comes_first() -> None:
    """A → B after B → C after C → D; what depends on nothing is free."""
    stages = [stage(at, name) for at, name in enumerate("ABCXY")]
    order = ordered(stages, {0: "B", 1: "C", 2: "D", 3: "Z"})
    assert renamed(order.chained) == [("C", "D"), ("B", "C"), ("A", "B")]
    assert renamed(order.free) == [("X", "Z")]
    assert order.swaps == ()


def test_names_of_other_pipelines_are_in_nobodys_way() -> None:
    """Ruddr keeps names apart within a pipeline alone."""
    stages = [stage(0, "A"), stage(1, "B", PIPELINES[1])]
    order = ordered(stages, {0: "B", 1: "A"})
    assert len(order.free) == 2


def test_a_pipeline_that_is_not_known_may_be_any() -> None:
    """An answer that leaves it out could hide a conflict."""
    order = ordered([stage(0, "A", None), stage(1, "B")], {0: "B", 1: "C"})
    assert renamed(order.chained) == [("B", "C"), ("A", "B")]


def test_stages_that_take_each_others_names_are_a_swap() -> None:
    """Two or more in a circle, each taking the name of the next."""
    stages = [stage(at, name) for at, name in enumerate("ABC")]
    (swap,) = ordered(stages, {0: "B", 1: "C", 2: "A"}).swaps
    taken = {change.stage_name: change.after["name"] for change in swap}
    assert taken == {"A": "B", "B": "C", "C": "A"}


@given(st.permutations(range(6)))
def test_every_permutation_of_names_can_be_written(names: list[int]) -> None:
    """One after the other, no name is ever held twice, and all are right in the end."""
    stages = [stage(at, str(at)) for at in range(6)]
    order = ordered(stages, {at: str(name) for at, name in enumerate(names)})
    held = {each.id: each.name for each in stages}
    steps = [*order.free, *(s for swap in order.swaps for s in over_a_third_name(swap))]
    for change in [*steps, *order.chained]:
        assert change.after["name"] not in held.values()
        assert held[change.stage_id] == change.before["name"]
        held[change.stage_id] = str(change.after["name"])
    assert [held[IDS[at]] for at in range(6)] == [str(name) for name in names]
    assert sum(1 for _ in order.all()) == sum(at != name for at, name in enumerate(names))
