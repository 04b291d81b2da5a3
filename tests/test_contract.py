"""openapi.yaml states what Ruddr documents, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

CONTRACT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[1] / "openapi.yaml").read_text(encoding="utf-8")
)
SCHEMAS: dict[str, Any] = CONTRACT["components"]["schemas"]
BODY: dict[str, Any] = SCHEMAS["OpportunityStageUpdate"]
OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    (method, path): operation
    for path, item in CONTRACT["paths"].items()
    for method, operation in item.items()
    if method != "parameters"
}
STAGES = "/workspace/opportunity-stages"
FIELDS = ["name", "description", "probability", "statusId", "isActive", "opportunityPipelineId"]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference of the contract."""
    while "$ref" in schema:
        target: Any = CONTRACT
        for step in schema["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        schema = target
    return schema


def inside(node: Any) -> Iterator[dict[str, Any]]:
    """Walk over every mapping in the contract."""
    if isinstance(node, dict):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from inside(child)


def test_the_contract_is_valid_openapi() -> None:
    """The document keeps to the OpenAPI 3.1 specification."""
    validate(CONTRACT)


def test_the_contract_holds_the_four_calls() -> None:
    """Three reads and the one write, each with an operationId to name its function."""
    assert {call: operation["operationId"] for call, operation in OPERATIONS.items()} == {
        ("get", "/workspace"): "get_workspace",
        ("get", STAGES): "list_opportunity_stages",
        ("get", f"{STAGES}/{{id}}"): "get_opportunity_stage",
        ("patch", f"{STAGES}/{{id}}"): "update_opportunity_stage",
    }


def test_the_contract_is_for_the_hosted_service_over_https() -> None:
    """The only server is Ruddr's own."""
    assert [server["url"] for server in CONTRACT["servers"]] == ["https://www.ruddr.io/api"]


def test_every_call_takes_a_bearer_key() -> None:
    """Security is stated once, for all calls, and none of them overrides it."""
    [requirement] = CONTRACT["security"]
    [name] = requirement
    scheme = CONTRACT["components"]["securitySchemes"][name]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert not [call for call, operation in OPERATIONS.items() if "security" in operation]


EVERYWHERE = {"200", "400", "401", "403", "405", "423", "429", "500", "502", "503", "504"}


@pytest.mark.parametrize(
    ("call", "statuses"),
    [
        pytest.param(("get", "/workspace"), EVERYWHERE, id="workspace"),
        pytest.param(("get", STAGES), EVERYWHERE, id="list"),
        pytest.param(("get", f"{STAGES}/{{id}}"), EVERYWHERE | {"404"}, id="get"),
        pytest.param(("patch", f"{STAGES}/{{id}}"), EVERYWHERE | {"404", "409"}, id="update"),
    ],
)
def test_every_documented_status_is_in_the_contract(
    call: tuple[str, str], statuses: set[str]
) -> None:
    """Each call names the statuses it may answer with."""
    assert set(OPERATIONS[call]["responses"]) == statuses


@pytest.mark.parametrize("call", OPERATIONS, ids=" ".join)
def test_every_error_has_the_documented_body(call: tuple[str, str]) -> None:
    """An error is a status and a message, and the failed validations where there are some."""
    responses = OPERATIONS[call]["responses"]
    assert all(
        resolved(response)["content"]["application/json"]["schema"]
        == {"$ref": "#/components/schemas/Error"}
        for status, response in responses.items()
        if status != "200"
    )


def test_an_error_body_is_a_status_a_message_and_perhaps_texts() -> None:
    """`errors` comes with some validation errors alone."""
    error = SCHEMAS["Error"]
    assert error["required"] == ["status", "message"]
    assert {name: schema["type"] for name, schema in error["properties"].items()} == {
        "status": "integer",
        "message": "string",
        "errors": "array",
    }


@pytest.mark.parametrize(
    ("field", "limits"),
    [
        pytest.param(
            "name",
            {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"},
            id="name",
        ),
        pytest.param(
            "description", {"type": ["string", "null"], "maxLength": 5000}, id="description"
        ),
        pytest.param(
            "probability",
            {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.0001},
            id="probability",
        ),
        pytest.param("statusId", {"type": "string", "enum": ["open", "won", "lost"]}, id="status"),
        pytest.param("isActive", {"type": "boolean"}, id="active"),
        pytest.param("opportunityPipelineId", {"type": "string", "format": "uuid"}, id="pipeline"),
    ],
)
def test_a_field_of_the_update_has_the_documented_limits(
    field: str, limits: dict[str, Any]
) -> None:
    """Nothing but the documented limits: no default either, which would be sent each time."""
    schema = resolved(BODY["properties"][field])
    assert {key: value for key, value in schema.items() if key != "description"} == limits


def test_the_update_takes_the_six_fields_and_at_least_one() -> None:
    """Absent means unchanged, so none is required; an empty or an unknown one is refused."""
    assert list(BODY["properties"]) == FIELDS
    assert BODY["additionalProperties"] is False
    assert BODY["minProperties"] == 1
    assert "required" not in BODY


def test_a_stage_may_come_without_its_pipeline() -> None:
    """Some documented answers leave the pipeline out; every other field is always there."""
    stage = SCHEMAS["OpportunityStage"]
    assert set(stage["properties"]) == {"id", "createdAt", *FIELDS}
    assert set(stage["properties"]) - set(stage["required"]) == {"opportunityPipelineId"}


def test_the_list_takes_cursors_a_page_size_and_a_name() -> None:
    """The parameters of the list, with the limits of a page; no filter that Ruddr lacks."""
    parameters = {p["name"]: p["schema"] for p in OPERATIONS["get", STAGES]["parameters"]}
    assert parameters == {
        "startingAfter": {"type": "string", "format": "uuid"},
        "endingBefore": {"type": "string", "format": "uuid"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "name": {"type": "string"},
    }


def test_no_schema_has_a_default() -> None:
    """The generated client would send a default with every PATCH."""
    assert not [node for node in inside(CONTRACT) if "default" in node]


EXAMPLES = [
    *((name, schema, schema["example"]) for name, schema in SCHEMAS.items() if "example" in schema),
    *(
        (name, BODY, example["value"])
        for name, example in OPERATIONS["patch", f"{STAGES}/{{id}}"]["requestBody"]["content"][
            "application/json"
        ]["examples"].items()
    ),
]


@pytest.mark.parametrize(
    ("schema", "example"),
    [pytest.param(schema, example, id=name) for name, schema, example in EXAMPLES],
)
def test_every_example_is_valid(schema: dict[str, Any], example: Any) -> None:
    """The examples keep to the schemas they illustrate."""
    rooted = {**schema, "components": CONTRACT["components"]}
    Draft202012Validator(rooted, format_checker=FormatChecker()).validate(example)


def test_every_schema_that_is_answered_has_an_example() -> None:
    """A reader sees a stage, a workspace and an error as they come over the wire."""
    assert {name for name, *_ in EXAMPLES} == {
        "Workspace",
        "OpportunityStage",
        "Error",
        "recalibrate",
        "close",
    }
