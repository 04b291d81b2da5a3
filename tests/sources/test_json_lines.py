"""A JSON Lines file: null clears, absent leaves alone, and one bad line is one bad line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_ruddr.sources.files import read_source

from .files import A, B, asked, errors_in


@pytest.fixture
def stages_jsonl(tmp_path: Path) -> Any:
    """Writes a file, from a text or from bytes, and returns its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "stages.jsonl"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_absent_null_and_a_value_are_what_they_are_in_json(stages_jsonl: Any) -> None:
    """JSON needs no marker and no rule for blanks."""
    lines = [
        {"id": A, "probability": 0.625},
        {"id": B, "description": None, "isActive": False},
    ]
    path = stages_jsonl("\n".join(json.dumps(line) for line in lines))
    assert asked(read_source(path)) == [
        {"id": A, "probability": 0.625},
        {"id": B, "description": None, "is_active": False},
    ]


def test_blank_lines_are_skipped_and_counted(stages_jsonl: Any) -> None:
    """A line number is the one that an editor shows."""
    path = stages_jsonl(f'\ufeff\n{{"id": "{A}", "probability": 1}}\r\n  \n\n{{"id": "{B}"}}\n')
    rows = read_source(path, on_invalid="skip")
    assert [row.place for row in rows] == ["stages.jsonl line 2", "stages.jsonl line 5"]
    assert [bool(row.errors) for row in rows] == [False, True]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        pytest.param('{"id": ', "not JSON: Expecting value at column 9", id="cut off"),
        pytest.param("7", "not a JSON object: 7", id="a number"),
        pytest.param("null", "not a JSON object: null", id="null"),
        pytest.param(f'{{"id": "{A}", "probability": NaN}}', "not JSON: NaN", id="NaN"),
        pytest.param(f'{{"id": "{A}", "probability": -Infinity}}', "not JSON: -Infinity", id="inf"),
        pytest.param(f'{{"id": "{A}", "id": "{B}", "name": "x"}}', "id: there twice", id="twice"),
        pytest.param(
            f'{{"id": "{A}", "statusId": "won", "status_id": "won"}}',
            "statusId and status_id are the same field: give one",
            id="both spellings",
        ),
        pytest.param(
            f'{{"id": "{A}", "probability": 1e99999999999999999999}}',
            "probability = inf: Input should be a finite number",
            id="no number is that big",
        ),
        pytest.param(
            f'{{"id": "{A}", "probability": "0.5"}}',
            "probability = '0.5': Input should be a number from 0 to 1",
            id="a number as a text",
        ),
        pytest.param(
            f'{{"id": "{A}", "is_active": 1}}',
            "is_active = 1: Input should be a valid boolean",
            id="a boolean as a number",
        ),
        pytest.param(
            f'{{"id": "{A}", "colour": "red", "name": "x"}}',
            "colour: no such field; there are id, name, description, probability, status_id,"
            " is_active, opportunity_pipeline_id",
            id="unknown field",
        ),
        pytest.param(
            '{"id":' * 100_000, "maximum recursion depth exceeded", id="nested without end"
        ),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(
    stages_jsonl: Any, line: str, error: str
) -> None:
    """One bad line says nothing about the next."""
    path = stages_jsonl(f'{line}\n{{"id": "{B}", "probability": 0.5}}\n')
    bad, good = read_source(path, on_invalid="skip")
    assert (bad.place, good.errors) == ("stages.jsonl line 1", ())
    assert len(bad.errors) == 1
    assert bad.errors[0].startswith(error)


def test_the_callers_marker_means_null_here_too(stages_jsonl: Any) -> None:
    """One rule for every source: whoever writes the marker writes it everywhere."""
    path = stages_jsonl(json.dumps({"id": A, "description": "NULL"}))
    assert asked(read_source(path, null_marker="NULL")) == [{"id": A, "description": None}]


def test_bytes_in_another_encoding_are_named(stages_jsonl: Any) -> None:
    """With the line, as in CSV."""
    path = stages_jsonl(f'{{"id": "{A}", "name": "Café"}}\n'.encode("cp1252"))
    (error,) = errors_in(path)
    assert error.startswith("stages.jsonl line 1: byte 0xE9 in ")
    assert asked(read_source(path, encoding="cp1252")) == [{"id": A, "name": "Café"}]


def test_half_a_character_is_no_text(stages_jsonl: Any) -> None:
    """JSON can spell what cannot be sent."""
    (error,) = errors_in(stages_jsonl(f'{{"id": "{A}", "name": "\\ud83d"}}'))
    assert error.startswith("stages.jsonl line 1: name = ")


def test_an_empty_file_is_nothing_to_do(stages_jsonl: Any) -> None:
    """JSON Lines have no header to miss."""
    assert read_source(stages_jsonl("")) == []


@pytest.mark.parametrize(
    ("content", "what"),
    [
        pytest.param(json.dumps([{"id": A, "name": "x"}]), "an array", id="array"),
        pytest.param(
            json.dumps([{"id": A, "name": "x"}], indent=2), "an array", id="array of lines"
        ),
        pytest.param(
            json.dumps({"id": A, "name": "x"}, indent=2), "an object of many lines", id="object"
        ),
    ],
)
def test_json_of_another_layout_says_so(stages_jsonl: Any, content: str, what: str) -> None:
    """Once, and not as one error for each of its lines."""
    assert errors_in(stages_jsonl(f"\n{content}\n"), on_invalid="skip") == [
        f"stages.jsonl line 2: {what}, but JSON Lines have one object on each line, with nothing"
        " around or between them"
    ]


def test_an_array_among_objects_is_one_bad_line(stages_jsonl: Any) -> None:
    """Where the first line is right, the layout is."""
    path = stages_jsonl(f'{{"id": "{A}", "name": "x"}}\n[1]\n')
    assert errors_in(path) == ["stages.jsonl line 2: not a JSON object: [1]"]
