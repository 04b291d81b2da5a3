"""Every error of every row, in one judgement, before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from prefect_ruddr import Stage, StageUpdate, plan_stage_updates
from prefect_ruddr.runs.intake import intake

A = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"
B = "1f0b7a52-3c64-4b8e-8f57-2f1f7c7f2a90"

LIVE = {
    stage_id: Stage(
        id=stage_id,
        name="Terms",
        description=None,
        probability=0.33333,
        status_id="open",
        is_active=True,
        created_at=datetime(2025, 2, 10, tzinfo=UTC),
    )
    for stage_id in (UUID(A), UUID(B))
}

GOOD = {"id": A, "probability": 0.5}

BAD_ROWS: list[Any] = [
    pytest.param({"id": B, "probability": 1.5}, "probability = 1.5:", id="probability"),
    pytest.param({"id": B, "name": " "}, "name = ' ':", id="blank name"),
    pytest.param({"id": B, "status_id": "closed"}, "status_id = 'closed':", id="status"),
    pytest.param({"id": B, "colour": "red"}, "colour: no such field", id="unknown field"),
    pytest.param({"id": B}, "no field to set", id="nothing to set"),
    pytest.param({"probability": 0.5}, "id: missing", id="no id"),
    pytest.param({"id": "stage 7", "probability": 0.5}, "id = 'stage 7':", id="id"),
    pytest.param(None, "None is no update", id="no row"),
    pytest.param("probability", "'probability' is no update", id="text"),
]

rows = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "id": st.sampled_from([A, B, UUID(B), A.upper(), "stage 7", 7, None]),
            "probability": st.sampled_from([0, 0.5, 1.5, "0.5", None]),
            "name": st.sampled_from(["Terms", "", None]),
        },
    ),
    st.builds(StageUpdate, id=st.sampled_from([UUID(A), UUID(B)]), probability=st.just(0.5)),
    st.sampled_from([None, "text", 7, [], [1]]),
)


@given(st.lists(rows, max_size=6))
def test_every_row_is_good_or_has_an_error(given_rows: list[Any]) -> None:
    """No row is lost, whatever it is, and none is both."""
    judged = intake(given_rows)
    judged.compare(LIVE)
    assert len(judged.rows) == len(given_rows)
    assert judged.updates == [row.update for row in judged.rows if not row.error]
    assert None not in judged.updates


@given(st.lists(rows, max_size=6))
def test_good_rows_are_about_different_stages(given_rows: list[Any]) -> None:
    """At most one update for a stage goes on, and only if no other row names it."""
    judged = intake(given_rows)
    judged.compare(LIVE)
    named = [row.stage_id for row in judged.rows]
    assert all(named.count(update.id) == 1 for update in judged.updates)


@pytest.mark.parametrize(("row", "error"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_error(row: Any, error: str) -> None:
    """The text begins with the field and the value as they were given."""
    judged = intake([GOOD, row])
    assert judged.stage_ids == [UUID(A)]
    assert judged.errors.keys() == {1}
    assert judged.errors[1].startswith(error)


def test_every_error_of_a_row_is_reported_at_once() -> None:
    """One reading is enough to mend a row."""
    judged = intake([{"id": A, "name": "", "probability": 2, "isActive": "yes"}])
    assert [text.split(" = ")[0] for text in judged.errors[0].split("; ")] == [
        "name",
        "probability",
        "is_active",
    ]


def test_rows_about_the_same_stage_are_all_refused() -> None:
    """However the id is written: nobody could say which of them counts."""
    due = {"id": B, "name": "Due"}
    terms = StageUpdate(id=UUID(A), name="Terms")
    judged = intake([GOOD, due, terms, {"id": A.upper(), "name": "T"}])
    assert judged.stage_ids == [UUID(B)]
    assert set(judged.errors.values()) == {f"id = {A}: updates 1, 3, 4 are all about it"}


def test_a_bad_row_counts_among_the_rows_about_a_stage() -> None:
    """Mending one error must not bring the next to light."""
    judged = intake([GOOD, {"id": A, "probability": 1.5}])
    assert judged.stage_ids == []
    assert judged.errors[0] == f"id = {A}: updates 1, 2 are all about it"
    assert judged.errors[1].startswith("probability = 1.5:")
    assert judged.errors[1].endswith(f"id = {A}: updates 1, 2 are all about it")


def test_stages_the_workspace_lacks_are_errors() -> None:
    """An id that is nobody's is refused like any wrong value, with the id in the text."""
    judged = intake([GOOD, {"id": B, "name": "Due"}])
    judged.compare({})
    assert judged.errors == {
        0: f"id = {A}: the workspace has no such stage",
        1: f"id = {B}: the workspace has no such stage",
    }


READ = LIVE[UUID(A)]
DUMPS: list[Any] = [
    pytest.param(READ, id="a stage"),
    pytest.param(READ.model_dump(), id="its dump"),
    pytest.param(READ.model_dump(mode="json"), id="its JSON"),
    pytest.param(
        {to_camel(name): value for name, value in READ.model_dump(mode="json").items()},
        id="Ruddr's answer",
    ),
]


@pytest.mark.parametrize("row", DUMPS)
def test_a_stage_that_was_read_is_an_update_without_a_change(row: Any) -> None:
    """What nobody can set is ignored by name; a value that Ruddr would not take stays as it is."""
    judged = intake([row])
    assert judged.errors == {}
    judged.compare(LIVE)
    assert judged.errors == {}
    plan = plan_stage_updates(judged.updates, LIVE, None)
    assert (plan.changes, plan.unchanged) == ((), (UUID(A),))


def test_a_stage_that_was_edited_is_an_update() -> None:
    """Of the field that somebody changed."""
    judged = intake([READ.model_copy(update={"name": "Signed"})])
    judged.compare(LIVE)
    (change,) = plan_stage_updates(judged.updates, LIVE, None).changes
    assert change.after == {"name": "Signed"}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"probability": 0.44444}, "probability = 0.44444: ", id="decimals"),
        pytest.param({"probability": 33.3}, "probability = 33.3: ", id="above 1"),
        pytest.param({"name": "n" * 300}, "name = 'nnn", id="long name"),
        pytest.param({"name": " "}, "name = ' ': ", id="blank name"),
    ],
)
def test_a_value_that_ruddr_would_not_take_is_wrong_where_it_is_new(
    fields: dict[str, Any], error: str
) -> None:
    """It is told with everything else that is wrong, when the stage is known."""
    judged = intake([READ.model_copy(update=fields)])
    assert judged.errors == {}
    judged.compare(LIVE)
    assert judged.errors[0].startswith(error)
    assert judged.updates == []


def test_a_row_that_was_not_read_is_wrong_at_once() -> None:
    """Then nothing is sent at all."""
    judged = intake([{"id": A, "probability": 0.33333}])
    assert judged.errors[0].startswith("probability = 0.33333")


def test_a_stage_of_which_nothing_else_is_given_is_unchanged() -> None:
    """Somebody cut the other columns of an export."""
    judged = intake([{"id": A, "probability": 0.33333, "created_at": "2025"}])
    judged.compare(LIVE)
    assert plan_stage_updates(judged.updates, LIVE, None).unchanged == (UUID(A),)
