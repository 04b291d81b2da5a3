"""`StageUpdate` and openapi.yaml state the same limits: neither can drift from the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from prefect_ruddr import InvalidStageUpdates, StageUpdate
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Refused
from prefect_ruddr.sandbox.contract import load_contract
from prefect_ruddr.stages.stage import FIELD_NAMES
from prefect_ruddr.stages.update import parse_stage_update

CONTRACT = Path(__file__).parents[1] / "openapi.yaml"
SCHEMAS: dict[str, Any] = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))["components"][
    "schemas"
]
BODY: dict[str, Any] = SCHEMAS["OpportunityStageUpdate"]
FORM: dict[str, Any] = StageUpdate.model_json_schema()
FIELDS = [to_camel(name) for name in FIELD_NAMES]


def test_the_update_and_the_contract_have_the_same_fields() -> None:
    """The six fields, and the id that is in the path."""
    assert list(BODY["properties"]) == FIELDS
    assert list(FORM["properties"]) == ["id", *FIELD_NAMES]


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_the_form_states_the_limits_of_the_contract(name: str) -> None:
    """What Prefect shows and checks is the contract, field by field."""
    stated = BODY["properties"][to_camel(name)]
    if "$ref" in stated:
        stated = SCHEMAS[stated["$ref"].rsplit("/", 1)[1]]
    form = dict(FORM["properties"][name])
    branches = form.pop("anyOf", None)
    if branches:
        form |= branches[0] | {"type": [branch["type"] for branch in branches]}
    if form.get("enum") == [True, False]:
        form |= {"type": "boolean"}
        del form["enum"]
    # Judged by the model: JSON schema sees binary floats, and forms have no use for a pattern.
    beyond_forms = {"multipleOf", "pattern"}
    described = {"title", "description"}
    assert {key: value for key, value in form.items() if key not in described} == {
        key: value for key, value in stated.items() if key not in beyond_forms | described
    }


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(max_size=4)
    | st.integers(253, 258).map("n".__mul__)
    | st.sampled_from(["\n", "\u2003", "\x1f", "\x85", "\ufeff", "\u200b"]),
    "description": st.none()
    | st.text()
    | st.integers(4998, 5003).map("d".__mul__)
    | st.integers(4998, 5003).map(" ".__mul__),
    "probability": st.floats()
    | st.integers()
    | st.integers(-2, 10_002).map(lambda n: n / 10_000)
    | st.integers(-2, 100_002).map(lambda n: n / 100_000)
    | st.sampled_from([0.1 + 0.2, 1 - 1e-16, 10**400, 1e-5, -0.0]),
    "statusId": st.sampled_from(["open", "won", "lost", "Won", "", "open "]),
    "isActive": st.booleans() | st.integers(0, 1),
    "opportunityPipelineId": st.uuids().map(str) | st.just(EXAMPLE_STAGE_ID.upper()),
}
ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers())
)
BODIES = st.fixed_dictionaries(
    {},
    optional={name: st.one_of([values] * 4 + [ANYTHING]) for name, values in VALUES.items()},
) | st.dictionaries(st.sampled_from([*FIELDS, "Name", "status", "createdAt", ""]), ANYTHING)


def contract_accepts(body: dict[str, Any]) -> bool:
    """Judge by the schema of the contract, its decimals on their text."""
    try:
        load_contract().operation("update_opportunity_stage").check_body(body)
    except Refused:
        return False
    return True


@given(BODIES)
def test_an_update_is_accepted_exactly_where_the_contract_accepts_it(body: dict[str, Any]) -> None:
    """Neither passes what the other refuses; and what is sent is as valid as what was given."""
    try:
        update = parse_stage_update({"id": EXAMPLE_STAGE_ID, **body})
    except InvalidStageUpdates:
        assert not contract_accepts(body)
    else:
        # What nobody can set comes along with an export, and is not sent.
        body.pop("createdAt", None)
        assert contract_accepts(body)
        assert contract_accepts(json.loads(json.dumps(update.body())))
        assert update.body().keys() == body.keys()


def test_the_contract_judges_decimals_on_their_text() -> None:
    """The judge used above is right where binary floats are not."""
    assert contract_accepts({"probability": 0.0003})
    assert not contract_accepts({"probability": 0.1 + 0.2})
    assert not contract_accepts({"probability": 0.00005})
