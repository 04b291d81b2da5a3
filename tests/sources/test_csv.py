"""A CSV file: what its cells mean, and every way it can be wrong, with its lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import StageUpdate
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.sources.tables import COLUMNS

from .files import PIPELINE, A, B, C, asked, errors_in


@pytest.fixture
def stages_csv(tmp_path: Path) -> Any:
    """Writes a file, from a text or from bytes, and returns its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "stages.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


EVERY_FIELD = {
    "id": A,
    "name": "Signed",
    "description": "Both have signed.",
    "probability": 0.9,
    "status_id": "won",
    "is_active": False,
    "opportunity_pipeline_id": PIPELINE,
}


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(
            "id,name,description,probability,status_id,is_active,opportunity_pipeline_id",
            id="our spelling",
        ),
        pytest.param(
            "id,name,description,probability,statusId,isActive,opportunityPipelineId",
            id="Ruddr's spelling",
        ),
        pytest.param(
            " id ,name,\tdescription,probability , statusId,is_active,opportunityPipelineId",
            id="both, with white space around",
        ),
    ],
)
def test_columns_are_named_as_we_or_as_ruddr_name_the_fields(stages_csv: Any, header: str) -> None:
    """A file exported from the API and one written by hand read the same."""
    path = stages_csv(f"{header}\n{A},Signed,Both have signed.,0.90, won ,no,{PIPELINE}\n")
    assert asked(read_source(path)) == [EVERY_FIELD]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        *[(text, True) for text in ("true", "True", "TRUE", "yes", "1", " true ")],
        *[(text, False) for text in ("false", "False", "no", "NO", "0")],
    ],
)
def test_booleans_are_true_false_yes_no_1_0(stages_csv: Any, cell: str, value: bool) -> None:
    """In any case, and nothing else."""
    assert asked(read_source(stages_csv(f"id,is_active\n{A},{cell}\n"))) == [
        {"id": A, "is_active": value}
    ]


@pytest.mark.parametrize(
    ("cell", "value"),
    [("0.75", 0.75), ("1", 1.0), (" .5 ", 0.5), ("+0.1", 0.1), ("2.5e-1", 0.25), ("0.10000", 0.1)],
)
def test_numbers_are_decimals(stages_csv: Any, cell: str, value: float) -> None:
    """With a point, as a computer writes them."""
    assert asked(read_source(stages_csv(f"id,probability\n{A},{cell}\n"))) == [
        {"id": A, "probability": value}
    ]


@pytest.mark.parametrize(
    ("column", "cell", "error"),
    [
        pytest.param(
            "probability",
            "75 %",
            "probability = '75 %': Input should be a number from 0 to 1",
            id="percent",
        ),
        pytest.param(
            "probability",
            '"0,75"',
            "probability = '0,75': Input should be a number from 0 to 1",
            id="decimal comma",
        ),
        pytest.param(
            "probability",
            "1_0",
            "probability = '1_0': Input should be a number from 0 to 1",
            id="underscore",
        ),
        pytest.param(
            "probability",
            "nan",
            "probability = 'nan': Input should be a number from 0 to 1",
            id="nan",
        ),
        pytest.param(
            "probability",
            "1.5",
            "probability = 1.5: Input should be less than or equal to 1",
            id="above 1",
        ),
        pytest.param(
            "probability",
            "0.30000000000000001",
            "probability = 0.30000000000000001: Input should have at most 4 decimal places"
            " (round it)",
            id="more decimals than a float tells apart",
        ),
        pytest.param(
            "is_active",
            "maybe",
            "is_active = 'maybe': Input should be a valid boolean",
            id="no boolean",
        ),
        pytest.param(
            "status_id",
            "Won",
            "status_id = 'Won': Input should be 'open', 'won' or 'lost'",
            id="status in another case",
        ),
    ],
)
def test_a_cell_that_breaks_a_limit_is_named_with_its_line(
    stages_csv: Any, column: str, cell: str, error: str
) -> None:
    """File, line, field, value and limit are in one text."""
    path = stages_csv(f"id,{column}\n{A},{cell}\n")
    assert errors_in(path) == [f"stages.csv line 2: {error}"]


@pytest.mark.parametrize("blank_cell", ["", " ", "\t"])
def test_a_blank_cell_leaves_alone(stages_csv: Any, blank_cell: str) -> None:
    """What a spreadsheet leaves blank is not an order to clear it."""
    row = f"{A},{blank_cell},{blank_cell},0.5,{blank_cell},{blank_cell},{blank_cell}"
    assert asked(read_source(stages_csv(f"{','.join(EVERY_FIELD)}\n{row}\n"))) == [
        {"id": A, "probability": 0.5}
    ]


def test_a_blank_description_clears_where_the_caller_says_so(stages_csv: Any) -> None:
    """The other fields cannot be cleared, so a blank goes on leaving them alone."""
    path = stages_csv(f"id,name,description\n{A},,\n")
    assert asked(read_source(path, blank="clear")) == [{"id": A, "description": None}]


def test_the_callers_marker_means_null(stages_csv: Any) -> None:
    """Blank and null are then two things in one file."""
    path = stages_csv(f"id,description,probability\n{A},\\N,0.5\n{B},,0.5\n{C},\\n,0.5\n")
    assert asked(read_source(path, null_marker="\\N")) == [
        {"id": A, "description": None, "probability": 0.5},
        {"id": B, "probability": 0.5},
        {"id": C, "description": "\\n", "probability": 0.5},
    ]


def test_the_marker_clears_nothing_but_a_description(stages_csv: Any) -> None:
    """Where Ruddr takes no null, a marker is wrong rather than without effect."""
    (error,) = errors_in(stages_csv(f"id,name\n{A},NULL\n"), null_marker="NULL")
    assert error.startswith("stages.csv line 2: name = None: only description can be cleared")


@pytest.mark.parametrize("marker", ["", " "])
def test_a_blank_marker_is_refused(stages_csv: Any, marker: str) -> None:
    """It would say the opposite of what a blank means."""
    (error,) = errors_in(stages_csv(f"id,name\n{A},B\n"), null_marker=marker)
    assert error.startswith(f"null_marker = {marker!r}: should not be blank")


def test_names_and_descriptions_are_kept_as_they_stand(stages_csv: Any) -> None:
    """Quotes, commas, line breaks and white space in a text are the text."""
    path = stages_csv(f'id,name,description\n{A}," Won ","He said ""yes"",\r\nand left.\n"\n')
    assert asked(read_source(path)) == [
        {"id": A, "name": " Won ", "description": 'He said "yes",\r\nand left.\n'}
    ]


def test_a_row_is_named_by_the_line_it_starts_on(stages_csv: Any) -> None:
    """Line breaks in a cell and blank lines count as the lines they are."""
    path = stages_csv(f'id,description\n{A},"one\ntwo\nthree"\n\n{B},"four\nfive"\n,,\n{C},six\n')
    assert [row.place for row in read_source(path, on_invalid="skip")] == [
        "stages.csv line 2",
        "stages.csv line 6",
        "stages.csv line 9",
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_line_end_is_one(stages_csv: Any, newline: str) -> None:
    """Files of every system read the same, lines and all."""
    path = stages_csv(newline.join(["id,probability", f"{A},0.1", f"{B},0.2"]))
    assert [row.place for row in read_source(path)] == ["stages.csv line 2", "stages.csv line 3"]


def test_all_errors_of_all_rows_come_at_once(stages_csv: Any) -> None:
    """A file is mended in one go."""
    path = stages_csv(
        f"id,name,probability,colour\n{A},,1.5,red\n,,2,\n{B},ok,0.5,\n,x,,\n{C},,,\n"
        f"{C},a,b,c,d\n{C}\n"
    )
    assert errors_in(path) == [
        f"stages.csv line 1: column 'colour': no such column; there are {', '.join(COLUMNS)}",
        "stages.csv line 2: probability = 1.5: Input should be less than or equal to 1",
        "stages.csv line 3: id: missing",
        "stages.csv line 3: probability = 2.0: Input should be less than or equal to 1",
        "stages.csv line 5: id: missing",
        "stages.csv line 6: no field to set: give at least one of name, description, probability,"
        " status_id, is_active, opportunity_pipeline_id",
        "stages.csv line 7: 5 cells, but there are 4 columns",
        "stages.csv line 8: 1 cells, but there are 4 columns",
    ]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        pytest.param(
            "id,probability,Probability",
            ["column 'Probability': no such column; did you mean probability?"],
            id="case",
        ),
        pytest.param(
            "id,statusId,status_id", ["column 'status_id' is there twice"], id="both spellings"
        ),
        pytest.param("id,name,name", ["column 'name' is there twice"], id="twice"),
        pytest.param("id,name,", ["column 3 has no name"], id="without a name"),
        pytest.param(
            "name,probability", ["no column says which stage a row is about"], id="no stage"
        ),
        pytest.param("id,pipeline", ["no column sets anything"], id="nothing to set"),
        pytest.param("id;name", ["one column, 'id;name': give delimiter=';'"], id="semicolons"),
        pytest.param("id\tname", ["one column, 'id\\tname': give delimiter='\\t'"], id="tabs"),
        pytest.param(
            "id,probabilty,Status ID,stage_id,Created",
            [
                "column 'probabilty': no such column; did you mean probability?",
                "column 'Status ID': no such column; did you mean status_id?",
                "column 'stage_id': no such column; did you mean id?",
                "column 'Created': no such column; did you mean created_at?",
                "no column sets anything",
            ],
            id="nearly right",
        ),
        pytest.param(
            f"{A},0.5",
            [
                f"column '{A}': no such",
                "column '0.5': no such",
                "no column says which stage",
                "no column sets anything",
            ],
            id="no header",
        ),
    ],
)
def test_a_wrong_header_is_wrong_for_the_whole_file(
    stages_csv: Any, header: str, said: list[str]
) -> None:
    """Keeping wrong rows does not keep a file of which nobody knows what a column means."""
    path = stages_csv(f"{header}\n{A}" + ",0.5" * header.count(",") + "\n")
    found = errors_in(path, on_invalid="skip")
    whole = [text for text in found if text.startswith("stages.csv line 1: ")]
    assert len(whole) == len(said)
    assert all(part in text for part, text in zip(said, whole, strict=True))


@pytest.mark.parametrize("delimiter", [";", "\t", "|"], ids=repr)
def test_another_delimiter_is_taken_where_the_caller_gives_it(
    stages_csv: Any, delimiter: str
) -> None:
    """Excel writes semicolons in much of Europe."""
    path = stages_csv(f"id,name\n{A},Won\n".replace(",", delimiter))
    assert asked(read_source(path, delimiter=delimiter)) == [{"id": A, "name": "Won"}]
    (error,) = errors_in(stages_csv(f"id,name\n{A},Won\n"), delimiter=delimiter)
    assert error.startswith("stages.csv line 1: one column, 'id,name': give delimiter=','")


@pytest.mark.parametrize("delimiter", ["", ";;", "\n", '"', "x", " ", "\0", None], ids=repr)
def test_a_delimiter_is_one_character(stages_csv: Any, delimiter: Any) -> None:
    """And none that a name or a quote could be."""
    (error,) = errors_in(stages_csv(f"id,name\n{A},Won\n"), delimiter=delimiter)
    assert error.startswith(f"delimiter = {delimiter!r}: should be one character")


def test_what_nobody_can_set_may_be_there(stages_csv: Any) -> None:
    """An export has it; it is left alone."""
    path = stages_csv(f"id,name,created_at\n{A},Won,2025-02-10T09:15:42.891Z\n")
    assert asked(read_source(path)) == [{"id": A, "name": "Won"}]


def test_pipelines_may_be_given_by_name(stages_csv: Any) -> None:
    """In both columns, and in either spelling."""
    path = stages_csv(
        f"stage,pipeline,opportunityPipelineId,probability\nWon,Sales,,1\nLost,{B},Sales,\n"
    )
    assert asked(read_source(path, pipelines={"Sales": PIPELINE})) == [
        {"stage": "Won", "pipeline": UUID(PIPELINE), "probability": 1.0},
        {"stage": "Lost", "pipeline": UUID(B), "opportunity_pipeline_id": PIPELINE},
    ]
    assert errors_in(path, pipelines={"Sale": PIPELINE}) == [
        "stages.csv line 2: pipeline = 'Sales': no such pipeline; did you mean 'Sale'?",
        "stages.csv line 3: opportunity_pipeline_id = 'Sales': no such pipeline;"
        " did you mean 'Sale'?",
    ]


def test_a_header_without_rows_is_nothing_to_do(stages_csv: Any) -> None:
    """A query that found nothing is no error."""
    assert read_source(stages_csv("id,probability\n")) == []


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
def test_a_file_without_a_header_is_wrong(stages_csv: Any, content: str) -> None:
    """An empty file says nothing, not even that there is nothing to do."""
    assert errors_in(stages_csv(content)) == [
        "stages.csv: no header: the first line should name the columns"
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(stages_csv: Any) -> None:
    """Spreadsheets write one."""
    path = stages_csv(f"\ufeffid,name\n{A},B\n")
    assert asked(read_source(path)) == [{"id": A, "name": "B"}]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8"])
def test_the_encoding_is_what_the_caller_says(stages_csv: Any, encoding: str) -> None:
    """Ruddr is sent the text, whatever bytes it was kept in."""
    path = stages_csv(f"id,name\n{A},Überprüfung\n".encode(encoding))
    assert asked(read_source(path, encoding=encoding)) == [{"id": A, "name": "Überprüfung"}]


def test_bytes_in_another_encoding_are_named_line_by_line(stages_csv: Any) -> None:
    """All of them at once, and the rows between them are right."""
    path = stages_csv(f"id,name\n{A},Prüfung\n{B},Won\n{C},Café\n".encode("cp1252"))
    assert errors_in(path) == [
        "stages.csv line 2: byte 0xFC in 'Pr�fung' cannot be decoded: give the file's encoding",
        "stages.csv line 4: byte 0xE9 in 'Caf�' cannot be decoded: give the file's encoding",
    ]


@pytest.mark.parametrize(
    ("content", "encoding", "error"),
    [
        pytest.param(
            ("id,name\n" + f"{A},B\n" * 200).encode("utf-16-le") + b"\x00\xd8A\x00",
            "utf-16-le",
            r"stages\.csv: not utf-16-le after line \d\d+: give its encoding",
            id="half a character",
        ),
        pytest.param(
            b"id,name\n", "utf-16", r"stages\.csv: not utf-16: give its encoding", id="no UTF-16"
        ),
        pytest.param(b"id,name\n", "utf-99", "encoding = 'utf-99': no such encoding", id="unknown"),
        pytest.param(b"id,name\n", "hex", "encoding = 'hex': no such encoding", id="no text"),
    ],
)
def test_a_text_that_cannot_be_read_on_is_wrong_as_a_whole(
    stages_csv: Any, content: bytes, encoding: str, error: str
) -> None:
    """Nobody knows what comes behind."""
    found = errors_in(stages_csv(content), encoding=encoding, on_invalid="skip")
    assert any(re.fullmatch(error, text) for text in found)


@pytest.mark.parametrize(
    ("row", "error"),
    [
        pytest.param('"open', "unexpected end of data", id="never closed"),
        pytest.param('"a" b', "',' expected after '\"'", id="text after a quote"),
        pytest.param('"' + "x" * 140_000, "field larger than field limit (131072)", id="endless"),
    ],
)
def test_broken_quoting_is_wrong_for_the_whole_file(stages_csv: Any, row: str, error: str) -> None:
    """What is behind it may be a row or a part of a text: that is not for us to guess."""
    path = stages_csv(f"id,name\n{A},1.5\n{B},{row}\n{C},Won\n")
    assert errors_in(path, on_invalid="skip") == [
        f"stages.csv line 3: {error}: no row from here on can be told"
    ]


def test_wrong_rows_can_be_kept_with_what_is_wrong(stages_csv: Any) -> None:
    """For the report to reject them one by one, in their order."""
    path = stages_csv(f"id,probability\n{A},1.5\n{B},0.5\n{C},0.5,\n")
    rows = read_source(path, on_invalid="skip")
    assert [(row.place, bool(row.errors)) for row in rows] == [
        ("stages.csv line 2", True),
        ("stages.csv line 3", False),
        ("stages.csv line 4", True),
    ]
    assert rows[1].update == StageUpdate.model_validate({"id": B, "probability": 0.5})


def test_a_stage_may_be_given_by_name(stages_csv: Any) -> None:
    """Its current name and the id of its pipeline, until somebody knows the stages."""
    path = stages_csv(f"stage,pipeline,probability\nWon,{PIPELINE},1\nLost ,,0\n")
    assert [
        {key: str(value) for key, value in row.items()} for row in asked(read_source(path))
    ] == [
        {"stage": "Won", "pipeline": PIPELINE, "probability": "1.0"},
        {"stage": "Lost ", "probability": "0.0"},
    ]
