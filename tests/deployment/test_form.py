"""The form of a deployment, which Prefect makes of a flow's parameters, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse as Deployment
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.flows import update_opportunity_stage_flow
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID


@pytest.fixture(scope="module")
def deployment(prefect_api: None) -> Deployment:
    """A deployment of the flow, as Prefect's API serves it."""
    block = RuddrCredentials(api_key=SecretStr("k")).save("form", overwrite=True)
    key = {"ruddr_credentials": {"$ref": {"block_document_id": str(block)}}}
    made: Any = update_opportunity_stage_flow.to_deployment("form", parameters=key)
    with get_client(sync_client=True) as client:
        return client.read_deployment(made.apply())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        pytest.param({"probability": 1.5}, "1.5 is greater than the maximum of 1", id="too-likely"),
        pytest.param({"probability": -0.1}, "less than the minimum of 0", id="negative"),
        pytest.param({"probability": "0.5"}, "is not of type 'number'", id="number-as-text"),
        pytest.param({"probability": None}, "None is not of type 'number'", id="null-probability"),
        pytest.param({"name": None}, "None is not of type 'string'", id="null-name"),
        pytest.param({"is_active": None}, "None is not one of", id="null-is-active"),
        pytest.param({"is_active": 1}, "1 is not one of [True, False]", id="one-for-true"),
        pytest.param({"name": "n" * 256}, "is too long", id="long-name"),
        pytest.param({"name": ""}, "''", id="empty-name"),
        pytest.param({"description": "d" * 5001}, "is too long", id="long-description"),
        pytest.param({"status_id": "maybe"}, "'maybe' is not one of", id="unknown-status"),
        pytest.param({"statusId": "maybe"}, "'maybe' is not one of", id="ruddrs-spelling"),
        pytest.param({"stage_name": "Won"}, "'stage_name' does not match", id="unknown-field"),
        pytest.param({}, "does not have enough properties", id="nothing-to-set"),
    ],
)
def test_prefect_refuses_what_ruddr_would(
    deployment: Deployment, fields: dict[str, Any], reason: str
) -> None:
    """A wrong update is refused with the reason when it is submitted, so there is no run of it."""
    parameters = {"update": {"id": EXAMPLE_STAGE_ID} | fields}
    with get_client(sync_client=True) as client, pytest.raises(PrefectHTTPStatusError) as refused:
        client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
    assert refused.value.response.status_code == 409
    assert reason in refused.value.response.json()["detail"]


def test_the_form_has_limits_and_sends_nothing_unasked(deployment: Deployment) -> None:
    """No default and no switch, which Prefect's form would send; null for description alone."""
    schema = (deployment.parameter_openapi_schema or {})["definitions"]["StageUpdate"]
    form = {
        name: {key: value for key, value in field.items() if key not in {"title", "description"}}
        for name, field in schema["properties"].items()
    }
    assert form == {
        "id": {"type": "string", "format": "uuid"},
        "name": {"type": "string", "minLength": 1, "maxLength": 255},
        "description": {"anyOf": [{"type": "string", "maxLength": 5000}, {"type": "null"}]},
        "probability": {"type": "number", "minimum": 0, "maximum": 1},
        "status_id": {"type": "string", "enum": ["open", "won", "lost"]},
        "is_active": {"enum": [True, False]},
        "opportunity_pipeline_id": {"type": "string", "format": "uuid"},
    }
    assert schema["required"] == ["id"]
