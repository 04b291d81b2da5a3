"""What is exported and given back unchanged changes nothing, whatever a workspace holds."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import fsspec  # type: ignore[import-untyped]
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from prefect_ruddr import ExportFailed, InvalidStageUpdates, SourceRow, Stage, StageUpdate
from prefect_ruddr.runs.intake import intake
from prefect_ruddr.sources.export import (
    export_stages,
    export_updates,
    exported_stages,
    sorted_stages,
)
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.sources.opening import SourceFormat
from prefect_ruddr.stages.names import StageName
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.plan import plan_stage_updates

from .files import A, B, C

SALES, RENEWALS = UUID(int=1, version=4), UUID(int=2, version=4)
PIPELINES: dict[str, UUID | str] = {"New Business": SALES, 'null: "#1" é\n': RENEWALS}
FORMATS: list[SourceFormat] = ["csv", "jsonl", "parquet", "yaml"]

characters = st.characters(exclude_categories=["Cs"])
awkward = st.sampled_from(
    [
        *("007", "yes", "No", "null", "~", "1e5", "true", "", " ", "\t", "\x1f", "=1+1", "-", "#"),
        *('"', "'", ",", ";", "a\rb", "a\nb\n", "a\n\n b", " a", "a ", "\ufeff", "\u2028", "\x85"),
        *("\0", "\x1b[31m", "NULL", "NaN", "[x]", "{x}", "*x", "&x", "!x", "%x", "|", ">", "- x"),
        *("x: y", "x #y", "Überprüfung", "交渉中", "🤝 Won", "2026-01-31", "\\N", "n" * 300, "a:"),
        *("a\tb", "a\n\tb", "a \nb", "\na", "a\n\n", "\n", "a\r\nb\r\n", "a\x0bb", "١٢", "é"),
    ]
)
texts = awkward | st.text(characters, max_size=12) | st.text("\n\r ab:#'\"-", max_size=12)
stages = st.builds(
    Stage,
    id=st.uuids(version=4),
    name=texts,
    description=st.none() | texts,
    probability=st.integers(0, 10_000).map(lambda n: n / 10_000)
    | st.sampled_from([0.33333, 1e-05, 0.1 + 0.2, 75.0, -0.5, 1e300, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False),
    status_id=st.sampled_from(["open", "won", "lost"]),
    is_active=st.booleans(),
    opportunity_pipeline_id=st.sampled_from([SALES, RENEWALS, UUID(int=3, version=4), None]),
    created_at=st.datetimes(timezones=st.just(UTC)),
)
workspaces = st.lists(stages, unique_by=lambda stage: stage.id, max_size=6)


def stage(name: str = "Won", pipeline: UUID | None = SALES, **fields: Any) -> Stage:
    """Return a stage."""
    held: dict[str, Any] = {
        "id": A,
        "description": None,
        "probability": 0.5,
        "status_id": "open",
        "is_active": True,
        "created_at": datetime(2025, 2, 10, 9, 15, 42, 891000, tzinfo=UTC),
    }
    return Stage.model_validate(
        {**held, "name": name, "opportunity_pipeline_id": pipeline, **fields}
    )


@pytest.mark.parametrize("format_", FORMATS)
@given(workspaces, st.sampled_from([{}, PIPELINES]))
@example([stage("n" * 300, description=" \n", probability=0.33333)], {})
@example([stage("a\n\n", description="a\n\n b\n", probability=1e-05)], PIPELINES)
def test_what_was_exported_plans_nothing(
    format_: SourceFormat, workspace: list[Stage], pipelines: dict[str, UUID | str]
) -> None:
    """No row is rejected, no stage is lost, no value differs: not even one beyond the limits."""
    live = {found.id: found for found in workspace}
    url = f"memory://export/stages.{format_}"
    with fsspec.open(url, "wb") as file:
        file.write(exported_stages(workspace, format_, pipelines=pipelines))
    judged = intake(read_source(url))
    assert judged.errors == {}
    judged.compare(live)
    assert judged.errors == {}
    plan = plan_stage_updates(judged.updates, live, None)
    assert plan.changes == ()
    assert set(plan.unchanged) == live.keys()
    again = exported_stages(reversed(workspace), format_, pipelines=pipelines)
    assert format_ == "parquet" or exported_stages(workspace, format_, pipelines=pipelines) == again


def test_stages_are_in_an_order_that_people_expect() -> None:
    """By pipeline, open before won before lost, by name in whichever case, then by id."""
    ordered = [
        stage("x", RENEWALS),
        stage("alpha"),
        stage("Beta"),
        stage("Beta", id=B),
        stage("Alpha", status_id="won"),
        stage("Alpha", status_id="lost"),
        stage("Alpha", None),
    ]
    ordered[2:4] = sorted(ordered[2:4], key=lambda found: str(found.id))
    names = PipelineNames({"Zzz": SALES, "Aaa": RENEWALS})
    assert sorted_stages(reversed(ordered), names) == ordered


def test_yaml_is_for_people() -> None:
    """Names of pipelines, no quotes where none are needed, and comments for what is not set."""
    content = exported_stages(
        [
            stage("Überprüfung", description="Terms are sent.\nBoth read them."),
            stage("007", RENEWALS, id=B, probability=0.33333),
            stage("Due", None, id=C),
        ],
        "yaml",
        pipelines={"New Business": SALES},
    ).decode()
    header, body = content.split("\n\n", 1)
    assert all(line.startswith("#") for line in header.splitlines())
    assert body == (
        f"pipelines:\n"
        f"  New Business: {SALES}\n"
        "\n"
        "stages:\n"
        f'  "{RENEWALS}":\n'
        f"    - id: {B}  # created 2025-02-10T09:15:42.891Z\n"
        '      name: "007"\n'
        "      description: null\n"
        "      # probability: 0.33333: it is so in Ruddr, but cannot be set\n"
        "      status_id: open\n"
        "      is_active: true\n"
        "  New Business:\n"
        f"    - id: {A}  # created 2025-02-10T09:15:42.891Z\n"
        "      name: Überprüfung\n"
        "      description: |-\n"
        "        Terms are sent.\n"
        "        Both read them.\n"
        "      probability: 0.5\n"
        "      status_id: open\n"
        "      is_active: true\n"
        "  ~:  # Ruddr does not say which pipeline these are in\n"
        f"    - id: {C}  # created 2025-02-10T09:15:42.891Z\n"
        "      name: Due\n"
        "      description: null\n"
        "      probability: 0.5\n"
        "      status_id: open\n"
        "      is_active: true\n"
    )


@given(workspaces)
def test_any_reader_of_yaml_sees_the_same(workspace: list[Stage]) -> None:
    """PyYAML reads the texts as they are, with quotes where it would take them for more."""
    content = yaml.safe_load(exported_stages(workspace, "yaml"))
    seen = {
        item["id"]: item.get("name")
        for listed in content["stages"].values()
        for item in listed
        if "name" in item
    }
    held = {str(found.id): found.name for found in workspace}
    assert seen.items() <= held.items()


def test_moving_a_stage_in_yaml_moves_it() -> None:
    """Its lines stand under another pipeline then."""
    live = [stage("Won", SALES, id=A), stage("Due", RENEWALS, id=B)]
    names = {"Sales": str(SALES), "Renewals": str(RENEWALS)}
    content = yaml.safe_load(exported_stages(live, "yaml", pipelines=names))
    content["stages"] = {"Renewals": [*content["stages"]["Renewals"], *content["stages"]["Sales"]]}
    with fsspec.open("memory://export/moved.yaml", "w") as file:
        yaml.safe_dump(content, file)
    judged = intake(read_source("memory://export/moved.yaml"))
    by_id = {found.id: found for found in live}
    judged.compare(by_id)
    (change,) = plan_stage_updates(judged.updates, by_id, None).changes
    assert change.after == {"opportunity_pipeline_id": str(RENEWALS)}


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zip"])
def test_a_file_is_replaced_in_one_step(tmp_path: Path, suffix: str) -> None:
    """It keeps who may read it, and nothing else is left in the folder."""
    path = tmp_path / f"stages.jsonl{suffix}"
    path.write_bytes(b"old")
    path.chmod(0o640)
    export_stages([stage()], path)
    (row,) = read_source(path)
    assert row.errors == ()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_stages_are_the_same_bytes(tmp_path: Path) -> None:
    """Packed too: the time of the export is no difference."""
    path = tmp_path / "stages.csv.gz"
    export_stages([stage()], path)
    packed = path.read_bytes()
    assert packed[4:8] == b"\0\0\0\0"
    assert gzip.decompress(packed) == exported_stages([stage()], "csv")


def test_a_link_goes_on_pointing_to_its_file(tmp_path: Path) -> None:
    """It is the file that is replaced."""
    target = tmp_path / "real.csv"
    target.write_text("old", encoding="utf-8")
    link = tmp_path / "stages.csv"
    link.symlink_to(target)
    export_stages([stage()], link)
    assert link.is_symlink()
    assert target.read_bytes() == exported_stages([stage()], "csv")


def test_a_url_will_do() -> None:
    """Any that fsspec can write to."""
    export_stages([stage()], "memory://export/stages.csv.gz")
    (row,) = read_source("memory://export/stages.csv.gz")
    assert row.errors == ()


def test_what_cannot_be_written_says_why_in_one_line(tmp_path: Path) -> None:
    """The file that was there is as it was."""
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    places: list[tuple[Path | str, str]] = [
        (tmp_path / "nowhere" / "stages.csv", "no such folder"),
        (tmp_path, "not a regular file"),
        (pipe, "not a regular file"),
        ("what://sales/stages.csv", "Protocol not known: what"),
    ]
    for path, reason in places:
        with pytest.raises(ExportFailed) as raised:
            export_stages([stage()], path, format="csv")
        assert str(raised.value) == f"{path}: {reason}"
    assert list(tmp_path.iterdir()) == [pipe]


MARKER = "\\N"
usable = st.text(characters, min_size=1, max_size=12).filter(
    lambda text: bool(text.strip()) and text != MARKER
)
fields = st.fixed_dictionaries(
    {},
    optional={
        "name": usable | st.sampled_from(["007", "null", "No", " x ", "a\rb"]),
        "description": st.none() | usable,
        "probability": st.integers(0, 10_000).map(lambda number: number / 10_000),
        "status_id": st.sampled_from(["open", "won", "lost"]),
        "is_active": st.booleans(),
        "opportunity_pipeline_id": st.uuids(version=4).map(str),
    },
).filter(bool)
updates: st.SearchStrategy[Any] = st.builds(
    lambda id_, said: StageUpdate.model_validate({"id": id_, **said}), st.uuids(version=4), fields
)
by_name = st.builds(
    lambda name, said: SourceRow({**name.row, **said}, "stages.csv line 2"),
    st.builds(StageName, stage=usable, pipeline=st.none() | st.uuids(version=4)),
    fields,
)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "yaml"])
@given(st.lists(updates | by_name, max_size=5))
def test_updates_are_given_back_as_they_are(suffix: str, rows: list[Any]) -> None:
    """Absent fields are absent, null is null, and a stage that was given by name still is."""
    url = f"memory://export/retry.{suffix}"
    marker = MARKER if suffix == "csv" else None
    export_updates(rows, url, null_marker=marker)
    back = read_source(url, null_marker=marker) if rows or suffix != "csv" else []
    assert [row.errors for row in back] == [()] * len(rows)
    assert [row.update for row in back] == [
        row.update if isinstance(row, SourceRow) else row for row in rows
    ]


@pytest.mark.parametrize(
    ("row", "error"),
    [
        pytest.param({"id": A, "description": None}, "a CSV cell cannot say so", id="null"),
        pytest.param({"id": A, "name": " "}, "would be read as something else", id="blank"),
    ],
)
def test_what_a_csv_cell_cannot_say_is_refused(row: Any, error: str) -> None:
    """With what to do instead."""
    with pytest.raises(InvalidStageUpdates, match=error):
        export_updates([row], "memory://export/retry.csv")
    with pytest.raises(InvalidStageUpdates, match="something else"):
        export_updates([{"id": A, "name": "x"}], "memory://export/retry.csv", null_marker="x")


@pytest.mark.parametrize(
    "value",
    [float("nan"), [1], {"x": 1}, "\ud800", pytest.param(object(), id="an object")],
    ids=repr,
)
def test_what_no_file_can_hold_is_refused(value: Any) -> None:
    """Before anything is written."""
    with pytest.raises(InvalidStageUpdates, match="not a value that a file can hold"):
        export_updates([{"id": A, "name": value}], "memory://export/never.jsonl")
    assert not fsspec.filesystem("memory").exists("memory://export/never.jsonl")


def test_updates_are_not_written_as_parquet() -> None:
    """A typed column cannot tell absent from null."""
    with pytest.raises(InvalidStageUpdates, match="written as csv, jsonl or yaml"):
        export_updates([], "memory://export/retry.parquet")


def test_wrong_rows_can_be_mended_in_a_file(tmp_path: Path) -> None:
    """They are written as they were read, errors and all."""
    path = tmp_path / "stages.csv"
    path.write_text(f"id,name,probability\n{A},Won,1.5\n{B},,0.62505\n", encoding="utf-8")
    wrong = read_source(path, on_invalid="skip")
    export_updates(wrong, tmp_path / "mend.jsonl")
    lines = (tmp_path / "mend.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": A, "name": "Won", "probability": 1.5},
        {"id": B, "probability": 0.62505},
    ]
