"""The workspace that a sandbox starts with."""

from __future__ import annotations

import re
from uuid import UUID

import pytest

from prefect_ruddr.sandbox import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.sandbox.contract import load_contract, schema_errors


def test_the_same_seed_gives_the_same_workspace() -> None:
    """Ids, times and all other fields follow from the seed."""
    assert Sandbox(seed=7).stages == Sandbox(seed=7).stages
    assert Sandbox(seed=7).workspace == Sandbox(seed=7).workspace


def test_another_seed_gives_other_ids() -> None:
    """Only the documented example is in both, and the workspaces are two."""
    one, other = Sandbox(seed=1), Sandbox(seed=2)
    shared = {s["id"] for s in one.stages} & {s["id"] for s in other.stages}
    assert shared == {EXAMPLE_STAGE_ID}
    assert one.workspace["id"] != other.workspace["id"]


def test_it_looks_like_a_consultancy() -> None:
    """Three pipelines, open stages between 0 and 1, won at 1, lost at 0, some left blank."""
    sandbox = Sandbox()
    names = ["New Business", "Renewals", "Partner-sourced"]
    assert [pipeline["name"] for pipeline in sandbox.pipelines] == names
    assert len(sandbox.stages) == 18
    won = {s["probability"] for s in sandbox.stages if s["statusId"] == "won"}
    lost = {s["probability"] for s in sandbox.stages if s["statusId"] == "lost"}
    opened = {s["probability"] for s in sandbox.stages if s["statusId"] == "open"}
    assert (won, lost) == ({1}, {0})
    assert all(0 < probability < 1 for probability in opened)
    assert any(s["description"] is None for s in sandbox.stages)
    assert any(not s["isActive"] for s in sandbox.stages)


@pytest.mark.parametrize("stages", [1, 3, 18, 19, 10_000])
def test_it_has_as_many_stages_as_told(stages: int) -> None:
    """Pipelines are cut off or added; the documented example is always there."""
    sandbox = Sandbox(stages=stages)
    assert len({stage["id"] for stage in sandbox.stages}) == stages
    assert sandbox.stage(EXAMPLE_STAGE_ID)["opportunityPipelineId"] == EXAMPLE_PIPELINE_ID
    used = {stage["opportunityPipelineId"] for stage in sandbox.stages}
    assert used == {pipeline["id"] for pipeline in sandbox.pipelines}
    assert len({pipeline["name"] for pipeline in sandbox.pipelines}) == len(sandbox.pipelines)


def test_every_stage_keeps_to_the_contract() -> None:
    """Each one is valid, its id is a UUID v4, and its time has the documented form."""
    contract = load_contract()
    for stage in Sandbox(stages=300).stages:
        assert not schema_errors(contract.stage, stage, "stage")
        assert UUID(stage["id"]).version == 4
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stage["createdAt"])


def test_a_snapshot_is_a_copy() -> None:
    """Changing what `stages` and `stage` return does not change the workspace."""
    sandbox = Sandbox()
    sandbox.stages[0]["name"] = "Changed"
    sandbox.stage(EXAMPLE_STAGE_ID)["name"] = "Changed"
    assert sandbox.stage(EXAMPLE_STAGE_ID)["name"] == "Negotiation"


def test_an_unknown_stage_is_a_key_error() -> None:
    """`stage` has no answer for an id that no stage has."""
    with pytest.raises(KeyError):
        Sandbox().stage("00000000-0000-4000-8000-000000000000")


def test_it_has_no_url_before_it_runs() -> None:
    """The port is only known once the sandbox is entered."""
    with pytest.raises(RuntimeError, match="not running"):
        _ = Sandbox().base_url


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", "", "::"])  # noqa: S104
def test_only_loopback_is_listened_on(host: str) -> None:
    """A sandbox is never reachable from another machine."""
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(host=host)


@pytest.mark.parametrize("api_key", ["", "two words", "new\nline", "schlüssel"])
def test_a_key_must_fit_into_a_header(api_key: str) -> None:
    """A key is printable ASCII without spaces."""
    with pytest.raises(ValueError, match="API key"):
        Sandbox(api_key=api_key)


def test_it_runs_once_at_a_time() -> None:
    """Entering a sandbox that is running is an error."""
    with Sandbox() as sandbox, pytest.raises(RuntimeError, match="running already"):
        sandbox.__enter__()


def test_it_can_be_entered_again() -> None:
    """The workspace outlives the server: what was changed before is still so."""
    sandbox = Sandbox()
    with sandbox:
        sandbox.edit(EXAMPLE_STAGE_ID, probability=0.8)
    with sandbox:
        assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.8
