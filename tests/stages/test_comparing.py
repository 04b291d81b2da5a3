"""A change compared with what a stage holds now, and what is risky about it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from prefect_ruddr import Stage, StageChange, StageUpdate, plan_stage_updates

ID = UUID("a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19")
OLD_PIPELINE = UUID("b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2")
NEW_PIPELINE = UUID("1f0b7a52-3c64-4b8e-8f57-2f1f7c7f2a90")

STAGE = Stage(
    id=ID,
    name="Negotiation",
    description="Terms are being discussed.",
    probability=0.75,
    status_id="open",
    is_active=True,
    opportunity_pipeline_id=OLD_PIPELINE,
    created_at=datetime(2025, 2, 10, tzinfo=UTC),
)


def change(live: Stage = STAGE, **fields: Any) -> StageChange:
    """Plan one update, which needs a change."""
    (planned,) = plan_stage_updates([StageUpdate(id=ID, **fields)], {ID: live}, None).changes
    return planned


def now(**fields: Any) -> Stage:
    return STAGE.model_copy(update=fields)


@pytest.mark.parametrize(
    ("live", "update"),
    [
        pytest.param({"probability": 0.2}, {"probability": Decimal("0.2000")}, id="0.2 and 0.2000"),
        pytest.param({"probability": 1.0}, {"probability": 1}, id="1.0 and 1"),
        pytest.param({"description": None}, {"description": " \n"}, id="null and blank"),
        pytest.param({"description": "\t "}, {"description": None}, id="blank and null"),
        pytest.param({}, {"opportunity_pipeline_id": str(OLD_PIPELINE).upper()}, id="id in caps"),
    ],
)
def test_equal_values_are_no_change(live: dict[str, Any], update: dict[str, Any]) -> None:
    """What means the same to Ruddr is not written again."""
    plan = plan_stage_updates([StageUpdate(id=ID, **update)], {ID: now(**live)}, None)
    assert plan.changes == ()


@pytest.mark.parametrize(
    ("live", "compared"),
    [
        pytest.param({}, "still valid", id="as planned"),
        pytest.param({"probability": 0.8, "name": "Terms"}, "already applied", id="already there"),
        pytest.param({"probability": 0.5}, "conflict", id="another value"),
        pytest.param({"probability": 0.8}, "conflict", id="half of it there"),
        pytest.param({"description": None}, "still valid", id="another field edited"),
    ],
)
def test_a_change_is_held_against_what_is_live(live: dict[str, Any], compared: str) -> None:
    """It is still valid as long as the stage holds what the plan saw, in the fields it changes."""
    planned = change(probability=0.8, name="Terms")
    assert planned.compared_with(now(**live)) == compared


@pytest.mark.parametrize(
    ("planned_on", "live", "compared"),
    [
        pytest.param(None, OLD_PIPELINE, "still valid", id="left out at planning"),
        pytest.param(None, NEW_PIPELINE, "already applied", id="left out at planning, there now"),
        pytest.param(OLD_PIPELINE, None, "still valid", id="left out now"),
        pytest.param(None, None, "still valid", id="left out both times"),
    ],
)
def test_a_pipeline_that_is_left_out_is_no_conflict(
    planned_on: UUID | None, live: UUID | None, compared: str
) -> None:
    """An answer without a pipeline speaks neither for nor against a move."""
    planned = change(now(opportunity_pipeline_id=planned_on), opportunity_pipeline_id=NEW_PIPELINE)
    assert planned.compared_with(now(opportunity_pipeline_id=live)) == compared


def test_an_unknown_pipeline_does_not_hide_a_conflict() -> None:
    """The other fields of the change still count."""
    planned = change(probability=0.8, opportunity_pipeline_id=NEW_PIPELINE)
    assert planned.compared_with(now(probability=0.5, opportunity_pipeline_id=None)) == "conflict"


def test_a_move_from_an_unknown_pipeline_cannot_be_undone() -> None:
    """There is nothing to write back, and nobody is told that it has been done."""
    back = change(
        now(opportunity_pipeline_id=None), opportunity_pipeline_id=NEW_PIPELINE
    ).inverted()
    assert back.unwritable()
    assert back.compared_with(now(opportunity_pipeline_id=None)) != "already applied"
    with pytest.raises(ValidationError, match="only description can be cleared"):
        back.update()


def test_a_conflict_says_what_the_stage_holds_now() -> None:
    """One line names the stage and the live values of the fields that were to change."""
    said = change(probability=0.8, name="Terms").overtaken_by(now(probability=0.5))
    assert said == (
        "Negotiation was changed since it was planned, not written:"
        " name is 'Negotiation', probability is 0.5 now"
    )


def test_the_inverse_of_a_renaming_goes_by_the_new_name() -> None:
    """A person reads the name that the stage has when the inverse is applied."""
    back = change(name="Terms").inverted()
    assert (back.stage_name, back.after) == ("Terms", {"name": "Negotiation"})


@pytest.mark.parametrize(
    ("fields", "risks"),
    [
        pytest.param({"name": "Terms", "description": None}, [], id="words"),
        pytest.param({"status_id": "won"}, ["status_id changes"], id="status"),
        pytest.param({"is_active": False}, ["is_active changes"], id="activity"),
        pytest.param(
            {"opportunity_pipeline_id": NEW_PIPELINE},
            ["opportunity_pipeline_id changes"],
            id="pipeline",
        ),
        pytest.param({"probability": 0.95}, [], id="a step as large as allowed"),
        pytest.param({"probability": 0.55}, [], id="a step down as large as allowed"),
        pytest.param(
            {"probability": 0.9501},
            ["probability moves by 0.2001, more than 0.2"],
            id="a larger step",
        ),
        pytest.param(
            {"probability": 0, "status_id": "lost"},
            ["probability moves by 0.75, more than 0.2", "status_id changes"],
            id="two at once",
        ),
    ],
)
def test_what_is_risky(fields: dict[str, Any], risks: list[str]) -> None:
    """A change of status, pipeline or activity, and a probability that moves by more than 0.2."""
    assert change(**fields).risks() == risks


def test_the_user_sets_how_far_a_probability_may_move() -> None:
    """The threshold is the caller's."""
    assert change(probability=0.76).risks(probability_change=0) != []
    assert change(probability=0).risks(probability_change=1) == []
