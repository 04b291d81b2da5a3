"""From a file to the wire: one run, one plan, and outcomes that say where they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from pydantic import SecretStr

from prefect_ruddr import (
    InvalidStageUpdates,
    RuddrCredentials,
    SourceUnreadable,
    StageReport,
    apply_stage_file,
    apply_stage_updates,
    check_stage_drift,
    read_stage_updates,
    stage_rows,
    undo_stage_updates,
)
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.sandbox import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.sources.export import export_stages
from prefect_ruddr.stages.outcome import SUMMARY_KEY
from runs.records import markdown, methods, patches, run, table

from .files import A

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Writes a file and returns its path as a text."""

    def write(content: str, name: str = "stages.csv") -> str:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return str(path)

    return write


def test_a_file_is_applied_and_undone_by_its_own_run(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """Stages by name; one list of the stages serves the names and the plan alike."""
    before = sandbox.stages
    path = file(
        "stage,pipeline,name,probability,description\n"
        f"Won,{EXAMPLE_PIPELINE_ID},Signed,,\nDiscovery,,,0.3,Needs are known.\nTerms Sent,,,0.8,\n"
    )
    ended = run(apply_stage_file, ruddr_credentials, path)

    assert ended.outcomes == ["updated", "updated", "unchanged"]
    assert [outcome.place for outcome in ended.report.outcomes] == [
        f"stages.csv line {line}" for line in (2, 3, 4)
    ]
    assert ended.report.flow_run_id == ended.flow_run_id
    assert methods(sandbox) == {"GET": 4, "PATCH": 2}
    ids = {stage["name"]: stage["id"] for stage in before if stage["name"] != "Won"}
    (won,) = (
        stage["id"]
        for stage in before
        if (stage["name"], stage["opportunityPipelineId"]) == ("Won", EXAMPLE_PIPELINE_ID)
    )
    assert dict(patches(sandbox)) == {
        won: {"name": "Signed"},
        ids["Discovery"]: {"probability": 0.3, "description": "Needs are known."},
    }
    assert len(table(ended.flow_run_id, PLAN_KEY)) == 3
    assert table(ended.flow_run_id, OUTCOMES_KEY)[0]["update"] == "stages.csv line 2"

    back = run(undo_stage_updates, ruddr_credentials, ended.flow_run_id)
    assert back.outcomes == ["updated", "updated"]
    assert sandbox.stages == before


def test_any_wrong_row_stops_a_file_before_anything_is_sent(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """Each row has its outcome, and the wrong ones say the line and what is wrong."""
    path = file(f"id,probability\n{A},0.8\n{A[:-1]}8,1.5\n")
    ended = run(apply_stage_file, ruddr_credentials, path)

    assert ended.state.is_failed()
    assert ended.outcomes == ["not_attempted", "rejected"]
    assert ended.report.outcomes[1].place == "stages.csv line 3"
    assert str(ended.result).endswith("probability = 1.5: Input should be less than or equal to 1")
    assert "stages.csv line 3" in str(ended.result)
    assert sandbox.requests == []


def test_wrong_rows_can_be_skipped_and_are_reported_in_order(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """The good ones are applied; the run still fails, and its page names the lines."""
    path = file(
        "stage,probability,description\nDiscovery,0.3,\nWon,0.9,\nDiscovry,0.3,\nProposal,1.5,\n"
        "Verbal Commit,0.95\nTerms Sent,0.85,\n"
    )
    ended = run(apply_stage_file, ruddr_credentials, path, on_invalid="skip")

    assert ended.state.is_failed()
    assert ended.outcomes == ["updated", *["rejected"] * 4, "updated"]
    said = [
        f"{outcome.place}: {outcome.error}"
        for outcome in ended.report.outcomes
        if outcome.outcome == "rejected"
    ]
    assert [text.split(",")[0].split(";")[0] for text in said] == [
        "stages.csv line 3: stage = 'Won': 2 stages are called that",
        "stages.csv line 4: stage = 'Discovry': no stage is called that",
        "stages.csv line 5: probability = 1.5: Input should be less than or equal to 1",
        "stages.csv line 6: 2 cells",
    ]
    assert len(patches(sandbox)) == 2
    assert "| stages.csv line 4 |" in markdown(ended.flow_run_id, SUMMARY_KEY)


def test_a_wrong_value_hides_no_wrong_name(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """The stages are read for the names, nothing is written, and all that is wrong is told."""
    path = file("stage,probability\nDiscovery,0.3\nProposal,1.5\nDiscovry,0.3\n")
    ended = run(apply_stage_file, ruddr_credentials, path)

    assert ended.outcomes == ["not_attempted", "rejected", "rejected"]
    wrong = ended.report.outcomes[2]
    assert (wrong.place, wrong.stage_name) == ("stages.csv line 4", "Discovry")
    assert (wrong.error or "").startswith(
        "stage = 'Discovry': no stage is called that; the closest"
    )
    assert methods(sandbox) == {"GET": 1}


def test_stages_that_were_exported_and_edited_are_applied(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tmp_path: Path
) -> None:
    """As code: one line of the file differs, one stage changes; the others send no PATCH."""
    pipelines = {"New Business": EXAMPLE_PIPELINE_ID}
    path = tmp_path / "stages.yaml"
    stages = ruddr_credentials.get_client().list_stages()
    export_stages(stages, path, pipelines=pipelines)
    before = path.read_text(encoding="utf-8")
    assert run(apply_stage_file, ruddr_credentials, str(path)).report.summary() == (
        f"{len(stages)} unchanged"
    )
    path.write_text(before.replace("name: Terms Sent", "name: Terms Signed"), encoding="utf-8")
    ended = run(apply_stage_file, ruddr_credentials, str(path))
    assert ended.report.summary() == f"1 updated, {len(stages) - 1} unchanged"
    assert [fields for _, fields in patches(sandbox)] == [{"name": "Terms Signed"}]


@pytest.mark.parametrize("where", ["file", "block"])
def test_names_of_pipelines_are_shown_wherever_they_come_from(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tmp_path: Path, where: str
) -> None:
    """In the plan, the report and the steps; and a file may use the names of the block."""
    names = {"Big Deals": EXAMPLE_PIPELINE_ID}
    key = ruddr_credentials
    if where == "file":
        path = tmp_path / "stages.yaml"
        stage = "stages:\n  Big Deals:\n    - {stage: Negotiation, probability: 0.8}\n"
        path.write_text(f"pipelines:\n  Big Deals: {EXAMPLE_PIPELINE_ID}\n{stage}")
    else:
        path = tmp_path / "stages.csv"
        path.write_text("stage,pipeline,probability\nNegotiation,Big Deals,0.8\n")
        key = ruddr_credentials.model_copy(update={"pipelines": names})
    ended = run(apply_stage_file, key, str(path))
    label = "Negotiation (Big Deals)"
    assert [outcome.label for outcome in ended.report.outcomes] == [label]
    assert [row["stage"] for row in table(ended.flow_run_id, PLAN_KEY)] == [label]
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.1)
    drift = run(check_stage_drift, key, str(path)).result
    assert [change.label for change in drift.plan.changes] == [label]


def test_stages_that_were_read_are_updates(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Objects and their dumps: what nobody can set is ignored."""
    first, second, *_ = ruddr_credentials.get_client().list_stages()
    edited = [
        first.model_copy(update={"probability": 0.123}),
        second.model_dump(mode="json") | {"description": "Edited."},
    ]
    ended = run(apply_stage_updates, ruddr_credentials, edited)
    assert ended.outcomes == ["updated", "updated"]
    assert dict(patches(sandbox)) == {
        str(first.id): {"probability": 0.123},
        str(second.id): {"description": "Edited."},
    }


def test_a_file_that_is_wrong_as_a_whole_is_never_skipped(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """Going on without a column is no way to go on without a row."""
    path = file(f"id,probabilty,name\n{A},0.5,x\n")
    with pytest.raises(InvalidStageUpdates, match=r"stages\.csv line 1: column 'probabilty'"):
        apply_stage_file(ruddr_credentials, path, on_invalid="skip")
    assert sandbox.requests == []


def test_a_file_that_is_not_there_fails_in_one_line(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Nothing is sent."""
    with pytest.raises(SourceUnreadable, match=r"^/nowhere/stages\.csv: no such file$"):
        apply_stage_file(ruddr_credentials, "/nowhere/stages.csv")
    assert sandbox.requests == []


def test_a_dry_run_of_a_file_only_reads(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """The options are those of the flow that takes updates."""
    path = file(json.dumps({"id": A, "probability": 0.9}), "stages.jsonl")
    ended = run(apply_stage_file, ruddr_credentials, path, dry_run=True)
    assert ended.outcomes == ["planned"]
    assert ended.report.outcomes[0].place == "stages.jsonl line 1"
    assert methods(sandbox) == {"GET": 2}


def test_a_file_without_rows_is_nothing_to_do(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """Neither an error nor a request."""
    ended = run(apply_stage_file, ruddr_credentials, file("id,name\n"))
    assert ended.outcomes == []
    assert sandbox.requests == []


def test_reading_and_applying_can_be_two_steps(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, file: Any
) -> None:
    """Between them a flow may choose; what it passes on keeps its place."""
    path = file("stage,probability\nDiscovery,0.3\nProposal,1.5\n")

    @flow
    def nightly() -> Any:
        rows = read_stage_updates(path, on_invalid="skip")
        return apply_stage_updates(ruddr_credentials, rows, on_invalid="skip")

    report = run(nightly).report
    assert [(outcome.place, outcome.outcome) for outcome in report.outcomes] == [
        ("stages.csv line 2", "updated"),
        ("stages.csv line 3", "rejected"),
    ]


def test_the_task_raises_every_error_at_once(file: Any) -> None:
    """Unless it is told to keep wrong rows."""
    path = file(f"id,probability\n{A},1.5\n{A},2\n")

    @flow
    def nightly() -> None:
        read_stage_updates(path)

    with pytest.raises(InvalidStageUpdates) as raised:
        nightly()
    assert [text.split(": ")[0] for text in raised.value.errors] == [
        "stages.csv line 2",
        "stages.csv line 3",
    ]


def test_more_rows_than_prefect_takes_as_parameters_are_applied() -> None:
    """Prefect refuses a run with more than 512 KiB of them: rows of a source are not recorded."""
    with Sandbox(rate=None, stages=120) as sandbox:
        credentials = RuddrCredentials(
            api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url
        )
        rows = [{"id": stage["id"], "description": "x" * 4_500} for stage in sandbox.stages]
        assert len(json.dumps(rows)) > 524_288

        @flow
        def nightly() -> StageReport:
            return apply_stage_updates(credentials, stage_rows(rows), dry_run=True)

        assert nightly().summary() == "120 would change"


def test_rows_by_name_work_without_a_file(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A mapping in code may give a name too."""
    report = apply_stage_updates(ruddr_credentials, [{"stage": "Discovery", "name": "Explore"}])
    assert report.outcomes[0].outcome == "updated"
    assert report.outcomes[0].stage_name == "Discovery"


def test_names_that_could_not_be_looked_up_may_succeed_later(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, short_waits: None
) -> None:
    """Every row says why it was not attempted, though its stage is not known."""
    sandbox.fail_next(5, status=503)
    rows = [{"stage": "Discovery", "name": "Explore"}, {"stage": "Proposal", "name": "Offer"}]
    ended = run(apply_stage_updates, ruddr_credentials, rows)
    assert ended.outcomes == ["not_attempted"] * 2
    assert all("503" in (outcome.error or "") for outcome in ended.report.outcomes)
    assert all(outcome.retryable for outcome in ended.report.outcomes)
    assert ended.report.retryable() == []


def test_a_pipeline_that_ruddr_leaves_out_settles_nothing() -> None:
    """Some documented answers have no pipeline: then only the id will do."""
    with Sandbox(rate=None, omit_pipeline=True) as sandbox:
        credentials = RuddrCredentials(
            api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url
        )
        row = {"stage": "Discovery", "pipeline": EXAMPLE_PIPELINE_ID, "probability": 0.3}
        ended = run(apply_stage_updates, credentials, [row])
        assert ended.outcomes == ["rejected"]
        assert "Ruddr does not say which pipeline it is in" in (
            ended.report.outcomes[0].error or ""
        )


def test_the_form_of_a_file_run_has_its_choices() -> None:
    """What a person sees in Prefect: formats and rules to choose from, and defaults."""
    properties = apply_stage_file.parameters.properties
    assert list(properties) == [
        "ruddr_credentials",
        "path_or_url",
        "dry_run",
        "approval",
        "on_invalid",
        "most_changes",
        "only_fields",
        "format",
        "blank",
        "null_marker",
        "encoding",
        "delimiter",
        "risky_probability_change",
        "approval_timeout_seconds",
        "swap_names",
        "allow_overlap",
    ]
    assert properties["blank"]["enum"] == ["leave", "clear"]
    assert ["csv", "jsonl", "parquet", "yaml"] in [
        branch.get("enum") for branch in properties["format"]["anyOf"]
    ]
    assert set(apply_stage_file.parameters.required) == {"ruddr_credentials", "path_or_url"}
