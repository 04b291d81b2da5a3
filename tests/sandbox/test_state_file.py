"""The workspace in a file: kept, reloaded, and never half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Refused, Sandbox, StateFileError

from .conftest import EXAMPLE, client_of


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "ruddr.json"


def test_a_new_file_holds_the_sample(state: Path) -> None:
    """A file that does not exist is written at once, with nothing left beside it."""
    sandbox = Sandbox(state=state, stages=3)
    assert json.loads(state.read_text())["stages"] == sandbox.stages
    assert list(state.parent.iterdir()) == [state]


def test_a_change_is_in_the_file_before_it_is_answered(state: Path) -> None:
    """Whoever has the answer finds the change in the file."""
    with Sandbox(state=state, rate=None) as sandbox, client_of(sandbox) as ruddr:
        answer = ruddr.patch(EXAMPLE, json={"probability": 0.3, "name": "Prüfung"})
        assert answer.json() in json.loads(state.read_text())["stages"]


def test_everything_is_there_again(state: Path) -> None:
    """A later sandbox continues with the same workspace, whatever its seed and size."""
    before = Sandbox(state=state, seed=3)
    before.edit(EXAMPLE_STAGE_ID, probability=0.3)
    before.make_read_only(EXAMPLE_STAGE_ID)
    after = Sandbox(state=state, seed=4, stages=1)
    assert after.stages == before.stages
    assert after.workspace == before.workspace
    assert after.pipelines == before.pipelines
    with pytest.raises(Refused, match="read-only"):
        after.edit(EXAMPLE_STAGE_ID, probability=0.4)


def test_what_cannot_be_saved_is_not_done(tmp_path: Path) -> None:
    """When the file cannot be written the answer is 500 and the stage is as before."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with Sandbox(state=folder / "ruddr.json") as sandbox, client_of(sandbox) as ruddr:
        before = sandbox.stages
        shutil.rmtree(folder)
        answer = ruddr.patch(EXAMPLE, json={"name": "Legal Review"})
        assert answer.status_code == 500
        assert "could not be saved" in answer.json()["message"]
        assert sandbox.stages == before
        folder.mkdir()
        assert ruddr.patch(EXAMPLE, json={"name": "Legal Review"}).status_code == 200


def test_a_file_that_cannot_be_written_is_noticed_at_once(tmp_path: Path) -> None:
    """A folder that does not exist is an error on construction, not on the first change."""
    with pytest.raises(FileNotFoundError):
        Sandbox(state=tmp_path / "nowhere" / "ruddr.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=repr)
def test_a_file_that_is_not_json_is_refused(state: Path, content: bytes) -> None:
    """It is named in one line and left as it is."""
    state.write_bytes(content)
    with pytest.raises(StateFileError, match=r"ruddr\.json is not a JSON file") as error:
        Sandbox(state=state)
    assert "\n" not in str(error.value)
    assert state.read_bytes() == content


def without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != name}


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda _: [], "holds no workspace"),
        (lambda c: {**c, "stages": 5}, "holds no workspace"),
        (lambda c: without(c, "stages"), "'stages' is missing"),
        (lambda c: without(c, "readOnly"), "'readOnly' is missing"),
        (lambda c: {**c, "workspace": {"id": "1"}}, "workspace"),
        (lambda c: {**c, "pipelines": []}, "there is no pipeline"),
        (lambda c: {**c, "readOnly": ["1"]}, "there is no stage 1"),
        (lambda c: {**c, "stages": [{}]}, "is a required property"),
        (lambda c: {**c, "stages": c["stages"] * 2}, "the same id"),
        (
            lambda c: {**c, "stages": [{**s, "name": "One"} for s in c["stages"]]},
            "the same name",
        ),
        (
            lambda c: {**c, "stages": [without(s, "opportunityPipelineId") for s in c["stages"]]},
            "'opportunityPipelineId' is missing",
        ),
    ],
)
def test_a_file_that_holds_no_workspace_is_refused(state: Path, damage: Any, text: str) -> None:
    """What is wrong is named in one line."""
    Sandbox(state=state)
    content = json.loads(state.read_text())
    state.write_text(json.dumps(damage(content)))
    with pytest.raises(StateFileError, match=text) as error:
        Sandbox(state=state)
    assert "\n" not in str(error.value)
