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


SCHEMA_KEYWORDS = {
    *("$id", "$schema", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"),
    *("$comment", "$defs", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"),
    *("dependentSchemas", "prefixItems", "items", "contains", "properties"),
    *("patternProperties", "additionalProperties", "propertyNames", "unevaluatedItems"),
    *("unevaluatedProperties", "type", "enum", "const", "multipleOf", "maximum"),
    *("exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength", "pattern"),
    *("maxItems", "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties"),
    *("minProperties", "required", "dependentRequired", "title", "description", "default"),
    *("deprecated", "readOnly", "writeOnly", "examples", "format", "contentEncoding"),
    *("contentMediaType", "contentSchema", "discriminator", "xml", "externalDocs", "example"),
}
"""JSON Schema 2020-12, and what OpenAPI 3.1 adds to it."""

_TEXTS = {"summary", "description"}

KEYWORDS: dict[str, dict[str, str]] = {
    # What may stand in an object of each kind, and of which kind it is; "" for a plain value.
    "document": {
        **dict.fromkeys(("openapi", "jsonSchemaDialect", "security"), ""),
        "info": "info",
        "servers": "[server]",
        "tags": "[tag]",
        "paths": "{path}",
        "components": "components",
    },
    "info": {
        **dict.fromkeys({"title", "termsOfService", "version", *_TEXTS}, ""),
        "contact": "contact",
        "license": "license",
    },
    "contact": dict.fromkeys(("name", "url", "email"), ""),
    "license": dict.fromkeys(("name", "identifier", "url"), ""),
    "server": dict.fromkeys(("url", "description", "variables"), ""),
    "tag": dict.fromkeys(("name", "description", "externalDocs"), ""),
    "path": {
        **dict.fromkeys(_TEXTS, ""),
        "parameters": "[parameter]",
        **dict.fromkeys(
            ("get", "put", "post", "delete", "options", "head", "patch", "trace"), "operation"
        ),
    },
    "operation": {
        **dict.fromkeys({"operationId", "tags", "deprecated", "security", *_TEXTS}, ""),
        "parameters": "[parameter]",
        "requestBody": "body",
        "responses": "{response}",
    },
    "parameter": {
        **dict.fromkeys(
            ("$ref", "name", "in", "description", "required", "deprecated", "style", "explode"), ""
        ),
        "schema": "schema",
    },
    "body": {**dict.fromkeys(("description", "required"), ""), "content": "{media type}"},
    "response": {
        **dict.fromkeys(("$ref", "description"), ""),
        "headers": "{header}",
        "content": "{media type}",
    },
    "header": {**dict.fromkeys(("description", "required", "deprecated"), ""), "schema": "schema"},
    "media type": {"schema": "schema", "example": "", "examples": "{example}"},
    "example": dict.fromkeys({"value", "externalValue", *_TEXTS}, ""),
    "components": {
        "schemas": "{schema}",
        "responses": "{response}",
        "securitySchemes": "{security scheme}",
    },
    "security scheme": dict.fromkeys(("type", "description", "scheme", "bearerFormat"), ""),
    "schema": {
        **dict.fromkeys(SCHEMA_KEYWORDS, ""),
        **dict.fromkeys(("$defs", "properties", "patternProperties"), "{schema}"),
        **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), "[schema]"),
        **dict.fromkeys(("items", "additionalProperties", "propertyNames", "not"), "schema"),
    },
}


def unknown_keywords(node: Any, kind: str = "document", place: str = "") -> Iterator[str]:
    """Walk over the keys that OpenAPI 3.1 does not have where they stand."""
    if kind[:1] in {"[", "{"}:
        named = enumerate(node) if kind[0] == "[" else node.items()
        for name, child in named:
            yield from unknown_keywords(child, kind[1:-1], f"{place}/{name}")
    elif kind and isinstance(node, dict):
        for name, child in node.items():
            if name in KEYWORDS[kind]:
                yield from unknown_keywords(child, KEYWORDS[kind][name], f"{place}/{name}")
            else:
                yield f"{place}/{name}"


def test_the_contract_has_no_unknown_keyword() -> None:
    """Validators let one pass, such as what follows a comma in an unquoted text."""
    assert list(unknown_keywords(CONTRACT)) == []


@pytest.mark.parametrize(
    ("text", "slip", "place"),
    [
        pytest.param(
            "description: 'The HTTP status, repeated.'",
            "description: The HTTP status, repeated.",
            "/components/schemas/Error/properties/status/repeated.",
            id="comma in a flow mapping",
        ),
        pytest.param(
            "maxLength: 255",
            "maxLenght: 255",
            "/components/schemas/OpportunityStageUpdate/properties/name/maxLenght",
            id="misspelt limit",
        ),
        pytest.param(
            "operationId: get_workspace",
            "operationID: get_workspace",
            "/paths//workspace/get/operationID",
            id="misspelt keyword",
        ),
    ],
)
def test_a_slip_in_the_contract_is_found(text: str, slip: str, place: str) -> None:
    """Wherever a key stands that means nothing there."""
    source = (Path(__file__).parents[1] / "openapi.yaml").read_text(encoding="utf-8")
    assert text in source
    assert list(unknown_keywords(yaml.safe_load(source.replace(text, slip)))) == [place]


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
