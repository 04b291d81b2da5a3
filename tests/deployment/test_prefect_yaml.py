"""prefect.yaml: a deployment of every flow, of which none starts by itself or holds the key."""

from __future__ import annotations

from inspect import getmembers
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.flows import load_flow_from_entrypoint

from prefect_ruddr import flows

FLOWS = {flow.name for _, flow in getmembers(flows) if isinstance(flow, Flow)}
TEXT = Path(__file__).parents[2].joinpath("prefect.yaml").read_text(encoding="utf-8")
DEPLOYMENTS = {each["name"]: each for each in yaml.safe_load(TEXT)["deployments"]}


def test_every_flow_is_deployed() -> None:
    """Who adds one to the package adds an entry here."""
    assert DEPLOYMENTS.keys() == FLOWS


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_names_the_block_and_holds_no_value_of_it(name: str) -> None:
    """A new key needs no new deployment. What is risky is asked about unless somebody says no."""
    deployment = DEPLOYMENTS[name]
    flow: Any = load_flow_from_entrypoint(deployment["entrypoint"])
    assert flow.name == name
    block = {"ruddr_credentials": {"$ref": {"block_document_slug": "ruddr-credentials/default"}}}
    asks = "approval" in flow.parameters.properties
    assert deployment["parameters"] == block | ({"approval": "risky"} if asks else {})
    assert deployment["enforce_parameter_schema"] is True
    assert deployment["work_pool"] == {"name": "ruddr"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_schedule_is_off_until_it_is_switched_on(name: str) -> None:
    """Deploying starts nothing by itself."""
    assert not [each for each in DEPLOYMENTS[name].get("schedules", []) if each["active"]]
