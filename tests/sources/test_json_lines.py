"""A JSON Lines file: null clears, absent leaves alone, and one bad line is one bad line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prefect_ruddr.sources.files import read_source

from .files import A, B, asked, violations


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
    rows = read_source(path, on_invalid="keep")
    assert [row.place for row in rows] == ["stages.jsonl line 2", "stages.jsonl line 5"]
    assert [bool(row.violations) for row in rows] == [False, True]


@pytest.mark.parametrize(
    ("line", "violation"),
    [
        pytest.param('{"id": ', "not JSON: Expecting value at column 9", id="cut off"),
        pytest.param("[1]", "not a JSON object: [1]", id="an array"),
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
        pytest.param("[" * 100_000, "maximum recursion depth exceeded", id="nested without end"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(
    stages_jsonl: Any, line: str, violation: str
) -> None:
    """One bad line says nothing about the next."""
    path = stages_jsonl(f'{line}\n{{"id": "{B}", "probability": 0.5}}\n')
    bad, good = read_source(path, on_invalid="keep")
    assert (bad.place, good.violations) == ("stages.jsonl line 1", ())
    assert len(bad.violations) == 1
    assert bad.violations[0].startswith(violation)


def test_the_callers_marker_means_null_here_too(stages_jsonl: Any) -> None:
    """One rule for every source: whoever writes the marker writes it everywhere."""
    path = stages_jsonl(json.dumps({"id": A, "description": "NULL"}))
    assert asked(read_source(path, null_marker="NULL")) == [{"id": A, "description": None}]


def test_bytes_in_another_encoding_are_named(stages_jsonl: Any) -> None:
    """With the line, as in CSV."""
    path = stages_jsonl(f'{{"id": "{A}", "name": "Café"}}\n'.encode("cp1252"))
    (violation,) = violations(path)
    assert violation.startswith("stages.jsonl line 1: byte 0xE9 in ")
    assert asked(read_source(path, encoding="cp1252")) == [{"id": A, "name": "Café"}]


def test_half_a_character_is_no_text(stages_jsonl: Any) -> None:
    """JSON can spell what cannot be sent."""
    (violation,) = violations(stages_jsonl(f'{{"id": "{A}", "name": "\\ud83d"}}'))
    assert violation.startswith("stages.jsonl line 1: name = ")


def test_an_empty_file_is_nothing_to_do(stages_jsonl: Any) -> None:
    """JSON Lines have no header to miss."""
    assert read_source(stages_jsonl("")) == []
