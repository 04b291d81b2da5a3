"""A `StageUpdate` says what is wanted of one stage: absent, null and a value are three things."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import cloudpickle  # type: ignore[import-untyped]
import jsonschema
import pytest
import yaml
from prefect.utilities.collections import visit_collection
from prefect.utilities.schema_tools import validate
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from prefect_ruddr import Stage, StageUpdate, Workspace
from prefect_ruddr.stages.stage import FIELD_NAMES, READ_ONLY_NAMES, parse_stage_id
from prefect_ruddr.stages.update import parse_stage_update

ID = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"
PIPELINE = "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2"

EVERY_FIELD: dict[str, Any] = {
    "name": "Signed",
    "description": None,
    "probability": 1,
    "status_id": "won",
    "is_active": False,
    "opportunity_pipeline_id": PIPELINE,
}

THREE_STATES = [
    pytest.param({"probability": 0.625}, id="absent"),
    pytest.param({"probability": 0.625, "description": None}, id="null"),
    pytest.param({"probability": 0.625, "description": "Terms."}, id="value"),
    pytest.param(EVERY_FIELD, id="every field"),
]

Passage = Callable[[StageUpdate], StageUpdate]

PASSAGES: list[Any] = [
    pytest.param(lambda u: StageUpdate.model_validate_json(u.model_dump_json()), id="JSON"),
    pytest.param(lambda u: StageUpdate.model_validate(u.model_dump()), id="dump"),
    pytest.param(lambda u: StageUpdate(**u.model_dump(mode="json", by_alias=True)), id="keywords"),
    pytest.param(lambda u: parse_stage_update({"id": u.id, **u.body()}), id="body"),
    pytest.param(lambda u: pickle.loads(pickle.dumps(u)), id="pickle"),  # noqa: S301
    pytest.param(lambda u: cloudpickle.loads(cloudpickle.dumps(u)), id="cloudpickle"),
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
    pytest.param(lambda u: u.model_copy(deep=True), id="model_copy"),
    pytest.param(
        lambda u: visit_collection(u, visit_fn=lambda part: part, return_data=True),
        id="Prefect's walk over parameters",
    ),
    pytest.param(
        lambda u: visit_collection([{"update": u}], visit_fn=copy.copy, return_data=True)[0][
            "update"
        ],
        id="Prefect's walk over nested parameters",
    ),
]


def update(**fields: Any) -> StageUpdate:
    """Return an update of the documented example."""
    return StageUpdate.model_validate({"id": ID, **fields})


@pytest.mark.parametrize("passage", PASSAGES)
@pytest.mark.parametrize("fields", THREE_STATES)
def test_absent_null_and_a_value_survive(passage: Passage, fields: dict[str, Any]) -> None:
    """However an update travels, the body that is sent at the end is the same."""
    given = update(**fields)
    arrived = passage(given)
    assert arrived == given
    assert arrived.model_fields_set == given.model_fields_set
    assert arrived.body() == given.body()


def test_the_body_holds_exactly_the_fields_that_are_set() -> None:
    """Ruddr's names, plain JSON values, and no id."""
    assert json.dumps(update(**EVERY_FIELD).body()) == json.dumps(
        {
            "name": "Signed",
            "description": None,
            "probability": 1.0,
            "statusId": "won",
            "isActive": False,
            "opportunityPipelineId": PIPELINE,
        }
    )


def test_a_field_can_be_set_to_what_python_holds_false() -> None:
    """0 and False are values; they are neither absent nor null."""
    assert update(probability=0, is_active=False).body() == {"probability": 0.0, "isActive": False}


@pytest.mark.parametrize("blank", ["", " ", "\t\r\n", "\u00a0"], ids=repr)
def test_a_blank_description_is_null(blank: str) -> None:
    """Ruddr stores it so, and the update says so before anything is sent."""
    assert update(description=blank) == update(description=None)
    assert update(description=blank).body() == {"description": None}


def test_text_is_sent_as_it_was_written() -> None:
    """White space around a name or a description is the user's."""
    assert update(name=" Won ", description="\n- a\n").body() == {
        "name": " Won ",
        "description": "\n- a\n",
    }


def test_ruddrs_own_spelling_is_accepted() -> None:
    """A row that was copied from Ruddr's documentation or answers needs no renaming."""
    assert parse_stage_update({"id": ID, "statusId": "won", "isActive": True}) == update(
        status_id="won", is_active=True
    )


def test_an_update_that_is_one_already_is_taken_as_it_is() -> None:
    """Validating twice costs nothing and changes nothing."""
    given = update(description=None)
    assert parse_stage_update(given) is given


@pytest.mark.parametrize(
    "spelling", [ID, ID.upper(), f"{{{ID}}}", ID.replace("-", ""), UUID(ID)], ids=str
)
def test_an_id_may_be_spelt_as_any_uuid(spelling: UUID | str) -> None:
    """Whatever the spelling, what is kept and sent is the one form."""
    assert parse_stage_update({"id": spelling, "name": "Won"}).id == UUID(ID)
    assert parse_stage_id(spelling) == UUID(ID)


def test_an_update_cannot_be_changed() -> None:
    """What was validated is what is sent."""
    with pytest.raises(ValidationError, match="frozen"):
        update(name="Won").name = "Lost"  # type: ignore[misc]


def test_the_text_of_an_update_shows_what_is_set() -> None:
    """An absent field is not shown as None, which would read as a wish to clear it."""
    assert repr(update(description=None)) == f"StageUpdate(id='{ID}', description=None)"


def test_the_form_needs_the_id_and_offers_no_values() -> None:
    """A default in the form would be sent; null is offered where it clears something."""
    form = StageUpdate.model_json_schema()
    assert form["required"] == ["id"]
    assert not [name for name, field in form["properties"].items() if "default" in field]
    nullable = [name for name, field in form["properties"].items() if "null" in str(field)]
    assert nullable == ["description"]


def test_the_form_takes_a_stage_as_it_was_read() -> None:
    """Its dump, in either spelling, passes Prefect's check of a deployment's parameters."""
    read = {"id": ID, "probability": 0.5, "created_at": "2025-02-10T09:15:42.891Z"}
    schema = StageUpdate.model_json_schema()
    for row in (read, {to_camel(name): value for name, value in read.items()}):
        jsonschema.validate(row, schema)
    without = read | {"opportunity_pipeline_id": None}
    for row in (without, {to_camel(name): value for name, value in without.items()}):
        validate(row, schema, raise_on_error=True, preprocess=True)
    with pytest.raises(jsonschema.ValidationError, match="does not match"):
        jsonschema.validate({**read, "created": "2025"}, schema)


def test_a_stage_gives_its_values_in_plain_json_types() -> None:
    """Before and after are compared as they come over the wire."""
    stage = Stage.model_validate(
        {
            "id": ID,
            "name": "Won",
            "description": " ",
            "probability": 1.0,
            "status_id": "won",
            "is_active": True,
            "opportunity_pipeline_id": PIPELINE,
            "created_at": "2025-02-10T09:15:42.891Z",
        }
    )
    assert [stage.value(name) for name in FIELD_NAMES] == ["Won", None, 1.0, "won", True, PIPELINE]


def test_what_ruddr_answers_cannot_be_changed() -> None:
    """A stage and a workspace are what Ruddr said they were."""
    workspace = Workspace(id=UUID(ID), name="Acme")
    with pytest.raises(ValidationError, match="frozen"):
        workspace.name = "Other"  # type: ignore[misc]


CONTRACT = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text(encoding="utf-8"))
SCHEMAS = CONTRACT["components"]["schemas"]


@pytest.mark.parametrize("field", SCHEMAS["OpportunityStage"]["properties"])
def test_a_stage_carries_every_field_of_the_contract(field: str) -> None:
    """Who adds one to openapi.yaml carries it into `Stage`."""
    assert field in {to_camel(name) for name in Stage.model_fields}


@pytest.mark.parametrize("field", SCHEMAS["OpportunityStageUpdate"]["properties"])
def test_an_update_can_set_every_field_of_the_contract(field: str) -> None:
    """And `FIELD_NAMES` lists it."""
    assert field in {to_camel(name) for name in FIELD_NAMES}
    assert tuple(name for name in StageUpdate.model_fields if name != "id") == FIELD_NAMES


def test_a_stage_has_nothing_that_the_contract_does_not_have() -> None:
    """What is neither the id nor a field to set is read-only."""
    assert {to_camel(name) for name in Stage.model_fields} == set(
        SCHEMAS["OpportunityStage"]["properties"]
    )
    assert {"id", *FIELD_NAMES, *READ_ONLY_NAMES} == set(Stage.model_fields)


def test_only_a_blank_description_is_null() -> None:
    """A blank name is a name: Ruddr holds what it holds."""
    stage = Stage(
        id=UUID(ID),
        name=" ",
        description=" ",
        probability=1.0,
        status_id="won",
        is_active=True,
        created_at=datetime(2025, 2, 10, tzinfo=UTC),
    )
    assert (stage.value("name"), stage.value("description")) == (" ", None)
