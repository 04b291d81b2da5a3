"""The flow that changes one stage: validated as a whole, then one PATCH."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State

from prefect_ruddr import (
    InvalidStageUpdates,
    RuddrCredentials,
    StageNotFound,
    StageUpdate,
    update_opportunity_stage_flow,
)
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.stages.update import parse_stage_update

ID = UUID(EXAMPLE_STAGE_ID)

THREE_STATES: list[Any] = [
    pytest.param({"probability": 0.8}, id="absent"),
    pytest.param({"probability": 0.8, "description": None}, id="null"),
    pytest.param({"probability": 0.8, "description": "Terms."}, id="value"),
]

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.mark.parametrize("fields", THREE_STATES)
@pytest.mark.parametrize("typed", [True, False], ids=["StageUpdate", "mapping"])
def test_a_run_sends_one_patch_and_returns_the_stage(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, fields: dict[str, Any], *, typed: bool
) -> None:
    """What is absent stays absent on the way through the flow and its task."""
    update: Any = {"id": EXAMPLE_STAGE_ID, **fields}
    stage = update_opportunity_stage_flow(
        ruddr_credentials, StageUpdate(**update) if typed else update
    )
    assert (stage.id, stage.probability) == (ID, 0.8)
    assert [request.json for request in sandbox.requests] == [fields]


@pytest.mark.parametrize("fields", THREE_STATES)
def test_what_prefect_records_of_a_run_runs_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, fields: dict[str, Any]
) -> None:
    """A run that is retried or copied in Prefect's UI wants the same as the first one did."""
    update = StageUpdate(id=ID, **fields)
    state = update_opportunity_stage_flow(ruddr_credentials, update, return_state=True)
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        recorded = client.read_flow_run(state.state_details.flow_run_id).parameters
    assert parse_stage_update(recorded["update"]) == update
    assert parse_stage_update(recorded["update"]).body() == fields


@pytest.mark.parametrize("fields", THREE_STATES)
def test_parameters_survive_being_serialised(
    ruddr_credentials: RuddrCredentials, fields: dict[str, Any]
) -> None:
    """On the way from a deployment's schedule or an automation to the worker."""
    given: dict[str, Any] = {
        "ruddr_credentials": ruddr_credentials,
        "update": StageUpdate(id=ID, **fields),
    }
    sent = json.loads(json.dumps(update_opportunity_stage_flow.serialize_parameters(given)))
    arrived = update_opportunity_stage_flow.validate_parameters(
        {"ruddr_credentials": ruddr_credentials, "update": sent["update"]}
    )
    assert parse_stage_update(arrived["update"]).body() == fields


def test_a_wrong_update_fails_the_run_in_one_line_and_sends_nothing(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Every error at once, before any task starts."""
    wrong = {"id": EXAMPLE_STAGE_ID, "name": "", "probability": 0.1 + 0.2, "status": "won"}
    state: State[Any] = update_opportunity_stage_flow(ruddr_credentials, wrong, return_state=True)
    assert state.name == "Failed"
    assert state.message is not None
    assert len(state.message.splitlines()) == 1
    assert "Invalid stage updates, 3 errors: name = '': " in state.message
    assert "; probability = 0.30000000000000004: " in state.message
    assert "; status: no such field; " in state.message
    assert sandbox.requests == []
    with pytest.raises(InvalidStageUpdates):
        state.result()


def test_a_run_that_ruddr_refuses_fails_with_what_ruddr_said(
    ruddr_credentials: RuddrCredentials,
) -> None:
    """The same class as the call raises."""
    with pytest.raises(StageNotFound) as caught:
        update_opportunity_stage_flow(ruddr_credentials, {"id": str(UUID(int=0)), "name": "Won"})
    assert caught.value.stage_id == UUID(int=0)
