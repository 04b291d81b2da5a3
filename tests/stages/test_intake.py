"""Every violation of every row, in one judgement, before anything is sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr import StageUpdate
from prefect_ruddr.runs.intake import intake

A = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"
B = "1f0b7a52-3c64-4b8e-8f57-2f1f7c7f2a90"

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
def test_every_row_is_good_or_has_a_violation(given_rows: list[Any]) -> None:
    """No row is lost, whatever it is, and none is both."""
    judged = intake(given_rows)
    assert sorted([*judged.updates, *judged.violations]) == list(range(len(given_rows)))


@given(st.lists(rows, max_size=6))
def test_good_rows_are_about_different_stages(given_rows: list[Any]) -> None:
    """At most one update for a stage goes on, and only if no other row names it."""
    judged = intake(given_rows)
    named = [judged.stage_id(position) for position in range(len(given_rows))]
    assert all(named.count(update.id) == 1 for update in judged.updates.values())


@pytest.mark.parametrize(("row", "violation"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_violation(row: Any, violation: str) -> None:
    """The text begins with the field and the value as they were given."""
    judged = intake([GOOD, row])
    assert judged.updates.keys() == {0}
    assert judged.violations.keys() == {1}
    assert judged.violations[1].startswith(violation)


def test_every_violation_of_a_row_is_reported_at_once() -> None:
    """One reading is enough to mend a row."""
    judged = intake([{"id": A, "name": "", "probability": 2, "isActive": "yes"}])
    assert [text.split(" = ")[0] for text in judged.violations[0].split("; ")] == [
        "name",
        "probability",
        "is_active",
    ]


def test_rows_about_the_same_stage_are_all_refused() -> None:
    """However the id is written: nobody could say which of them counts."""
    due = {"id": B, "name": "Due"}
    terms = StageUpdate(id=UUID(A), name="Terms")
    judged = intake([GOOD, due, terms, {"id": A.upper(), "name": "T"}])
    assert judged.updates.keys() == {1}
    assert set(judged.violations.values()) == {f"id = {A}: updates 1, 3, 4 are all about it"}


def test_a_bad_row_counts_among_the_rows_about_a_stage() -> None:
    """Mending one violation must not bring the next to light."""
    judged = intake([GOOD, {"id": A, "probability": 1.5}])
    assert judged.updates == {}
    assert judged.violations[0] == f"id = {A}: updates 1, 2 are all about it"
    assert judged.violations[1].startswith("probability = 1.5:")
    assert judged.violations[1].endswith(f"id = {A}: updates 1, 2 are all about it")


def test_stages_the_workspace_lacks_are_violations() -> None:
    """An id that is nobody's is refused like any wrong value, with the id in the text."""
    judged = intake([GOOD, {"id": B, "name": "Due"}])
    judged.reject_unknown({})
    assert judged.violations == {
        0: f"id = {A}: the workspace has no such stage",
        1: f"id = {B}: the workspace has no such stage",
    }
