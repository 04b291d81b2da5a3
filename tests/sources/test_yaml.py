"""Stages as code: a YAML file, grouped by pipeline or a plain list."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr.sources import yaml_rows
from prefect_ruddr.sources.files import read_source

from .files import PIPELINE, A, B, asked, errors_in


@pytest.fixture
def stages_yaml(tmp_path: Path) -> Any:
    """Writes a file, from a text or from bytes, and returns its path."""

    def write(content: str | bytes, name: str = "stages.yaml") -> Path:
        path = tmp_path / name
        if isinstance(content, str):
            content = textwrap.dedent(content).encode()
        path.write_bytes(content)
        return path

    return write


def test_stages_stand_under_their_pipelines(stages_yaml: Any) -> None:
    """By the names that the file gives them; a stage under another one shall move there."""
    path = stages_yaml(
        f"""\
        pipelines:
          New Business: {PIPELINE}
        stages:
          New Business:
            - id: {A}
              name: Negotiation
              probability: 0.75
              statusId: open
              is_active: yes
            - stage: Won
              description: null
          {B}:
            - stage: Lost
              opportunity_pipeline_id: New Business
          ~:
            - id: {B}
              description: |
                Two
                lines.
        """
    )
    assert asked(read_source(path)) == [
        {
            "id": A,
            "name": "Negotiation",
            "probability": 0.75,
            "status_id": "open",
            "is_active": True,
            "opportunity_pipeline_id": PIPELINE,
        },
        {"stage": "Won", "pipeline": UUID(PIPELINE), "description": None},
        {"stage": "Lost", "pipeline": UUID(B), "opportunity_pipeline_id": PIPELINE},
        {"id": B, "description": "Two\nlines.\n"},
    ]
    assert [row.place for row in read_source(path)] == [
        f"stages.yaml line {line}" for line in (5, 10, 13, 16)
    ]


def test_a_pipeline_may_be_called_anything(stages_yaml: Any) -> None:
    """In quotes, `null` is a name."""
    path = stages_yaml(
        f'pipelines: {{"null": {PIPELINE}}}\nstages: {{"null": [{{id: {A}, name: Won}}]}}\n'
    )
    assert asked(read_source(path)) == [
        {"id": A, "name": "Won", "opportunity_pipeline_id": PIPELINE}
    ]


@pytest.mark.parametrize("start", ["", "stages:\n"])
def test_a_plain_list_will_do(stages_yaml: Any, start: str) -> None:
    """Where pipelines do not matter; in a `.yml` file too."""
    path = stages_yaml(f"{start}- id: {A}\n  name: Won\n", "stages.yml")
    assert asked(read_source(path)) == [{"id": A, "name": "Won"}]


def test_the_caller_may_name_pipelines_too(stages_yaml: Any) -> None:
    """A name that both give has to mean the same."""
    path = stages_yaml(f"stages:\n  Sales:\n    - id: {A}\n      name: Won\n")
    assert asked(read_source(path, pipelines={"Sales": PIPELINE})) == [
        {"id": A, "name": "Won", "opportunity_pipeline_id": PIPELINE}
    ]
    path = stages_yaml(f"pipelines: {{Sales: {A}}}\nstages: {{}}\n")
    assert errors_in(path, pipelines={"Sales": PIPELINE}) == [
        f"stages.yaml: pipelines: 'Sales' = {A}, but it is {PIPELINE} elsewhere"
    ]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        pytest.param("name", "No", "No", id="Norway"),
        pytest.param("name", "007", "007", id="digits"),
        pytest.param("name", "1e5", "1e5", id="exponent"),
        pytest.param("name", "12:30", "12:30", id="time"),
        pytest.param("name", "2026-01-31", "2026-01-31", id="date"),
        pytest.param("name", '"null"', "null", id="quoted null"),
        pytest.param("description", "~", None, id="null"),
        pytest.param("probability", "0.30", 0.3, id="number"),
        pytest.param("is_active", "off", ..., id="off"),
        pytest.param("probability", '"0.3"', ..., id="quoted number"),
    ],
)
def test_a_plain_value_is_read_like_a_cell(
    stages_yaml: Any, field: str, text: str, value: Any
) -> None:
    """A name is its text, whatever YAML would make of it; null is null; quotes make a text."""
    path = stages_yaml(f"- id: {A}\n  {field}: {text}\n")
    if value is ...:
        assert errors_in(path)[0].startswith(f"stages.yaml line 1: {field} = ")
    else:
        assert asked(read_source(path)) == [{"id": A, field: value}]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        pytest.param("- id: x\n  id: y\n", "line 2: id: there twice", id="name twice"),
        pytest.param("- &a {id: x}\n- *a\n", "line 1: &a: references are not taken", id="anchor"),
        pytest.param("- id: *a\n", "line 1: *a: references are not taken", id="alias"),
        pytest.param(
            "- name: !!python/object:os.system x\n", "line 1: tags are not taken", id="tag"
        ),
        pytest.param("- {[1]: x}\n", "line 1: a name should be a text", id="name that is a list"),
        pytest.param("a: b\n", "line 1: should be a list of stages, or `stages:`", id="mapping"),
        pytest.param("7\n", "line 1: should be a list of stages", id="number"),
        pytest.param("pipelines: {}\n", "line 1: should be a list of stages", id="no stages"),
        pytest.param("stages:\n  Sales: x\n", "line 2: should be a list", id="no list"),
        pytest.param("- id: x\n---\n- id: y\n", "line 2: a second document", id="two documents"),
        pytest.param("- id: x\n name: y\n", "line 2: not YAML: did not find", id="indentation"),
        pytest.param("- name: 'x\n", "not YAML: found unexpected end of stream", id="cut off"),
        pytest.param("- id: x\n\tname: y\n", "line 2: not YAML: found a tab character", id="tab"),
        pytest.param("- name: \x07\n", "not YAML: control characters", id="control character"),
        pytest.param("- " * 50 + "x\n", "line 1: values are nested too deep", id="deep"),
        pytest.param(
            "[" * 100_000, "not YAML: exceeded maximum nesting depth", id="endlessly deep"
        ),
        pytest.param(
            b"- name: Caf\xe9\n",
            "line 1: byte 0xE9 in '- name: Caf",
            id="bytes in another encoding",
        ),
        pytest.param(
            "pipelines: {Sales: x}\nstages: {}\n",
            "pipelines: 'Sales' = 'x': not a UUID",
            id="pipeline without an id",
        ),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_says_where(
    stages_yaml: Any, content: Any, error: str
) -> None:
    """And takes no row of it."""
    (found,) = errors_in(stages_yaml(content), on_invalid="skip")
    assert found.startswith("stages.yaml")
    assert error in found
    assert len(found) < 300


@pytest.mark.parametrize(
    ("row", "error"),
    [
        pytest.param("Won", "'Won' is no stage: give its fields", id="no mapping"),
        pytest.param("{id: x, name: y}", "id = 'x': not a UUID", id="no id"),
        pytest.param(f"{{id: {A}, name: [x]}}", "name = ['x']: Input should be", id="list"),
        pytest.param(
            f"{{id: {A}, nmae: x}}", "nmae: no such field; did you mean name?", id="field"
        ),
        pytest.param(
            f"{{id: {A}, opportunityPipelineId: x, name: y}}",
            "opportunityPipelineId: it stands under the pipeline 'Sales': leave that out",
            id="pipeline twice",
        ),
        pytest.param(
            "{stage: Won, pipeline: x, name: y}",
            "pipeline: it stands under the pipeline 'Sales': leave that out",
            id="pipeline of a name twice",
        ),
    ],
)
def test_a_bad_stage_is_named_and_the_others_are_read(
    stages_yaml: Any, row: str, error: str
) -> None:
    """One bad stage says nothing about the next."""
    path = stages_yaml(f"stages:\n  Sales:\n  - {row}\n  - {{id: {B}, name: Won}}\n")
    bad, good = read_source(path, pipelines={"Sales": PIPELINE}, on_invalid="skip")
    assert (bad.place, good.errors) == ("stages.yaml line 3", ())
    assert bad.errors[0].startswith(error)


@pytest.mark.parametrize("content", ["", "# nothing\n", "[]\n", "stages: {}\n", "stages:\n", "~\n"])
def test_a_file_without_stages_is_nothing_to_do(stages_yaml: Any, content: str) -> None:
    """An export of an empty workspace, for one."""
    assert read_source(stages_yaml(content)) == []


def test_a_file_without_end_is_refused(stages_yaml: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be held as a whole."""
    monkeypatch.setattr(yaml_rows, "LONGEST_YAML", 100)
    (error,) = errors_in(stages_yaml("# x\n" * 30))
    assert error == "stages.yaml: more than 100 characters: split the file"


def test_the_callers_marker_means_null_here_too(stages_yaml: Any) -> None:
    """One rule for every source."""
    path = stages_yaml(f"- {{id: {A}, description: NONE}}\n")
    assert asked(read_source(path, null_marker="NONE")) == [{"id": A, "description": None}]
