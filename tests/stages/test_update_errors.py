"""What cannot be sent is refused before it is: one line, every error, each with its limit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from numbers import Real
from typing import Any

import pytest

from prefect_ruddr import InvalidStageUpdates
from prefect_ruddr.stages.stage import FIELD_NAMES, parse_stage_id
from prefect_ruddr.stages.update import parse_stage_update

ID = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"


def errors_in(data: Any) -> tuple[str, ...]:
    """Return what is wrong with the data."""
    with pytest.raises(InvalidStageUpdates) as caught:
        parse_stage_update(data)
    return caught.value.errors


@pytest.mark.parametrize("field", [name for name in FIELD_NAMES if name != "description"])
def test_only_the_description_can_be_cleared(field: str) -> None:
    """None is refused elsewhere, with the way to leave a field alone."""
    [error] = errors_in({"id": ID, field: None})
    assert error == (
        f"{field} = None: only description can be cleared; leave the field out to keep its value"
    )


def test_both_spellings_at_once_are_refused() -> None:
    """Even where they agree: one of them was forgotten."""
    assert errors_in({"id": ID, "statusId": "won", "status_id": "won"}) == (
        "statusId and status_id are the same field: give one",
    )


class Scalar:
    """A number of another library: a `Real` that is no float, with the shortest text."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.4g}"


Real.register(Scalar)


@pytest.mark.parametrize(
    ("probability", "sent"),
    [
        pytest.param(0, 0.0, id="zero"),
        pytest.param(1, 1.0, id="one"),
        pytest.param(0.0003, 0.0003, id="no binary multiple of 0.0001"),
        pytest.param(0.9999, 0.9999, id="four places"),
        pytest.param(1e-4, 1e-4, id="exponent"),
        pytest.param(Decimal("0.6250"), 0.625, id="decimal"),
        pytest.param(Decimal("0.500000"), 0.5, id="decimal with zeros at its end"),
        pytest.param(Fraction(1, 4), 0.25, id="fraction"),
        pytest.param(Scalar(0.10000000149011612), 0.1, id="32-bit scalar"),
    ],
)
def test_a_probability_is_any_number_of_four_decimal_places(probability: Any, sent: float) -> None:
    """The places are counted as they are written, not as binary floats hold them."""
    body = parse_stage_update({"id": ID, "probability": probability}).body()
    assert body == {"probability": sent}
    assert type(body["probability"]) is float


@pytest.mark.parametrize(
    ("probability", "error"),
    [
        pytest.param(
            0.1 + 0.2,
            "probability = 0.30000000000000004: Input should have at most 4 decimal places"
            " (round it)",
            id="rounding error",
        ),
        pytest.param(
            Decimal("0.62505"),
            "probability = 0.62505: Input should have at most 4 decimal places (round it)",
            id="five places",
        ),
        pytest.param(
            -0.1,
            "probability = -0.1: Input should be greater than or equal to 0",
            id="below",
        ),
        pytest.param(62.5, "probability = 62.5: Input should be less than or equal to 1", id="%"),
        pytest.param(
            float("nan"), "probability = nan: Input should be a finite number", id="not a number"
        ),
        pytest.param(
            Decimal("sNaN"), "probability = nan: Input should be a finite number", id="signalling"
        ),
        pytest.param(
            10**400, "probability = inf: Input should be a finite number", id="above all floats"
        ),
        pytest.param("0.5", "probability = '0.5': Input should be a number from 0 to 1", id="text"),
        pytest.param(True, "probability = True: Input should be a number from 0 to 1", id="bool"),
    ],
)
def test_what_is_no_probability_is_refused(probability: object, error: str) -> None:
    """One line that names the field, the value and the limit."""
    assert errors_in({"id": ID, "probability": probability}) == (error,)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        pytest.param({"id": ID}, "no field to set: give at least one of name, ", id="nothing"),
        pytest.param({"name": "Won"}, "id: missing", id="no id"),
        pytest.param({"id": "..", "name": "Won"}, "id = '..': ", id="path in place of an id"),
        pytest.param({"id": ID, "name": ""}, "name = '': ", id="empty name"),
        pytest.param(
            {"id": ID, "name": "\t"}, r"name = '\t': Input should not be blank", id="blank"
        ),
        pytest.param({"id": ID, "name": "n" * 256}, "name = 'nnn", id="long name"),
        pytest.param({"id": ID, "name": "\ud800"}, r"name = '\ud800': ", id="half a character"),
        pytest.param({"id": ID, "name": 5}, "name = 5: ", id="number for a name"),
        pytest.param({"id": ID, "name": b"Won"}, "name = b'Won': ", id="bytes for a name"),
        pytest.param(
            {"id": ID, "description": "d" * 5001}, "description = 'ddd", id="long description"
        ),
        pytest.param(
            {"id": ID, "description": " " * 5001}, "description = ' ': ", id="long and blank"
        ),
        pytest.param({"id": ID, "status_id": "Won"}, "status_id = 'Won': ", id="status"),
        pytest.param({"id": ID, "is_active": "true"}, "is_active = 'true': ", id="active as text"),
        pytest.param({"id": ID, "is_active": 1}, "is_active = 1: ", id="active as number"),
        pytest.param(
            {"id": ID, "opportunity_pipeline_id": "Sales"},
            "opportunity_pipeline_id = 'Sales': ",
            id="name for a pipeline",
        ),
        pytest.param(
            {"id": ID, "colour": "x"}, "colour: no such field; there are id, name, ", id="unknown"
        ),
        pytest.param(
            {"id": ID, "Name": "Won"}, "Name: no such field; did you mean name?", id="nearly right"
        ),
        pytest.param(
            {"id": ID, "c" * 100_000: "x"}, f"{'c' * 79}…: no such field; there", id="endless name"
        ),
        pytest.param({"id": ID, 5: "Won"}, "5 = 5: ", id="key that is no text"),
        pytest.param(None, "None is no update: ", id="none"),
        pytest.param([ID], f"['{ID}'] is no update: ", id="list"),
    ],
)
def test_what_is_no_update_is_refused(data: object, error: str) -> None:
    """One line that begins with the field and the value as they were given."""
    [text] = errors_in(data)
    assert text.startswith(error)
    assert len(text) < 250


def test_every_error_is_told_at_once() -> None:
    """Nobody mends a row one limit at a time."""
    with pytest.raises(InvalidStageUpdates) as caught:
        parse_stage_update(
            {"id": ID, "name": "n" * 300, "statusId": "Won", "probability": 1.5, "x": 1}
        )
    assert str(caught.value) == (
        "Invalid stage updates, 4 errors: name = '" + "n" * 59 + "… (300 characters): String"
        " should have at most 255 characters; probability = 1.5: Input should be less than or"
        " equal to 1; status_id = 'Won': Input should be 'open', 'won' or 'lost'; x: no such"
        " field; there are id, name, description, probability, status_id, is_active,"
        " opportunity_pipeline_id"
    )


@pytest.mark.parametrize("value", ["..", "", ID + "/", None, 5, "x" * 1000], ids=repr)
def test_what_is_no_uuid_is_no_stage_id(value: Any) -> None:
    """An id that could change the path of a request is refused before one is made."""
    with pytest.raises(InvalidStageUpdates, match=r"^Invalid stage update: stage id = .*: not a"):
        parse_stage_id(value)
