"""From the history of deals to the stages: one run, one plan, one report."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest

from docs.blocks import stored
from docs.pages import Page
from prefect_ruddr import (
    HistoryRefused,
    Recalibration,
    RuddrCredentials,
    StageUpdatesFailed,
    apply_stage_plan,
    recalibrate_stage_probabilities,
    undo_stage_updates,
)
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.records.recalibration_page import EVIDENCE_KEY, RECALIBRATION_KEY
from prefect_ruddr.sandbox import Sandbox
from runs.records import Ended, artifacts, eventually, markdown, patches, run, table, task_runs

Rows = list[sqlite3.Row]


def recalibrate(ruddr_credentials: RuddrCredentials, history: Any, **options: Any) -> Ended:
    """Run the flow without asking a person, unless the test says otherwise."""
    return run(
        recalibrate_stage_probabilities,
        ruddr_credentials,
        history,
        **{"approval": "never", **options},
    )


def probabilities(sandbox: Sandbox) -> dict[str, float]:
    """Return what the sandbox holds, by stage."""
    return {str(stage["id"]): float(stage["probability"]) for stage in sandbox.stages}


def test_a_run_writes_what_the_evidence_speaks_for_and_can_be_undone(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """One PATCH for each stage that changes, by one flow run, whose id undoes them all."""
    before = probabilities(sandbox)
    ended = recalibrate(ruddr_credentials, rows)
    result: Recalibration = ended.result
    changed = {str(stage.stage_id): stage.proposed for stage in result.stages if stage.proposed}
    assert len(changed) >= 2
    assert dict(patches(sandbox)) == {key: {"probability": p} for key, p in changed.items()}
    assert probabilities(sandbox) == before | changed
    assert result.report
    assert result.report.flow_run_id == ended.flow_run_id
    assert ended.state.message == result.report.in_one_line() == f"{len(changed)} updated"
    assert [len(artifacts(ended.flow_run_id, key)) for key in (PLAN_KEY, OUTCOMES_KEY)] == [1, 1]

    undone = run(undo_stage_updates, ruddr_credentials, ended.flow_run_id)
    assert set(undone.outcomes) == {"updated"}
    assert probabilities(sandbox) == before


@pytest.mark.long
def test_a_second_run_on_the_same_rows_sends_no_patch(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """The numbers do not creep from run to run."""
    recalibrate(ruddr_credentials, rows)
    sent = len(patches(sandbox))
    again = recalibrate(ruddr_credentials, rows)
    assert again.state.message == "no stage changes"
    assert len(patches(sandbox)) == sent


def test_what_a_dry_run_planned_is_carried_out_later(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """Planned today, reviewed by a person, applied from the published plan."""
    planned = recalibrate(ruddr_credentials, rows, dry_run=True)
    assert patches(sandbox) == []
    result: Recalibration = planned.result
    assert planned.state.message == f"Dry run: {len(result.updates)} would change"
    run(apply_stage_plan, ruddr_credentials, planned.flow_run_id)
    assert dict(patches(sandbox)) == {
        str(update.id): {"probability": update.probability} for update in result.updates
    }


def test_a_person_sees_every_stage_with_its_reason_and_the_evidence(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """The table has those that are left alone too; the page has backtest, warnings, pictures."""
    ended = recalibrate(ruddr_credentials, rows, dry_run=True)
    result: Recalibration = ended.result
    shown = table(ended.flow_run_id, RECALIBRATION_KEY)
    assert [row["stage_id"] for row in shown] == [str(stage.stage_id) for stage in result.stages]
    assert len(shown) == len(sandbox.stages)
    assert all(row["reason"] for row in shown)
    page = markdown(ended.flow_run_id, EVIDENCE_KEY)
    assert page.count("](data:image/png;base64,iVBOR") == 2
    assert "Brier" in page
    for warning in result.warnings:
        assert f"- {warning[:20]}" in page
    eventually(
        lambda: {step["name"].rpartition("-")[0] for step in task_runs(ended.flow_run_id)},
        lambda names: {"evaluate-history", "read-live-stages"} <= names,
    )


@pytest.mark.long
def test_a_person_is_asked_about_a_risky_plan_with_the_evidence_at_hand(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """Where nobody says otherwise; without an answer nothing is written."""
    ended = run(
        recalibrate_stage_probabilities,
        ruddr_credentials,
        rows,
        risky_probability_change=0.1,
        approval_timeout_seconds=1,
    )
    assert isinstance(ended.result, StageUpdatesFailed)
    assert set(ended.outcomes) == {"not_attempted"}
    assert len(artifacts(ended.flow_run_id, EVIDENCE_KEY)) == 1
    assert patches(sandbox) == []


def as_csv(rows: Rows, folder: Path) -> str:
    """Write the rows to a file."""
    path = folder / "deals.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0].keys())
        writer.writerows(rows)
    return str(path)


@pytest.mark.long
@pytest.mark.parametrize(
    "given",
    [
        pytest.param(as_csv, id="a CSV file"),
        pytest.param(lambda rows, _: pd.DataFrame([dict(row) for row in rows]), id="a frame"),
        pytest.param(lambda rows, _: iter(rows), id="an iterator"),
    ],
)
def test_a_history_says_the_same_from_wherever_it_comes(
    ruddr_credentials: RuddrCredentials,
    rows: Rows,
    tmp_path: Path,
    given: Callable[[Rows, Path], Any],
) -> None:
    """Files and frames are read by the same sources that updates come from."""
    from_rows = recalibrate(ruddr_credentials, rows, dry_run=True).result
    found = recalibrate(ruddr_credentials, given(rows, tmp_path), dry_run=True).result
    assert found.stages == from_rows.stages


def test_a_refused_history_says_everything_and_sends_no_write(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows, tmp_path: Path
) -> None:
    """Each kind of error with how many rows have it and where they stand in the file."""
    path = Path(as_csv(rows, tmp_path))
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace("+00:00", "")
    lines[4] += ",one cell too many"
    path.write_text("\n".join(lines))
    ended = recalibrate(ruddr_credentials, str(path))
    assert isinstance(ended.result, HistoryRefused)
    assert "entered_at has no time zone" in str(ended.result)
    assert "deals.csv line 2" in str(ended.result)
    assert "6 cells, but there are 5 columns: deals.csv line 5" in str(ended.result)
    assert patches(sandbox) == []


@pytest.mark.parametrize(
    ("history", "options", "message"),
    [
        pytest.param([], {}, "no rows", id="nothing"),
        pytest.param(7, {}, "7 is no table", id="no table"),
        pytest.param([], {"window_days": 10}, "shorter than horizon_days", id="a wrong option"),
    ],
)
def test_what_cannot_be_a_history_is_refused(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    history: Any,
    options: dict[str, Any],
    message: str,
) -> None:
    """By one error class, with no write."""
    ended = recalibrate(ruddr_credentials, history, **options)
    assert isinstance(ended.result, HistoryRefused)
    assert message in str(ended.result)
    assert patches(sandbox) == []


@pytest.mark.long
def test_a_change_that_fails_fails_the_run(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """The report has every outcome, and what worked stays written."""
    planned: Recalibration = recalibrate(ruddr_credentials, rows, dry_run=True).result
    first, *others = planned.updates
    sandbox.make_read_only(first.id)
    ended = recalibrate(ruddr_credentials, rows)
    assert isinstance(ended.result, StageUpdatesFailed)
    assert sorted(ended.outcomes) == ["failed", *["updated"] * len(others)]


def test_deals_are_no_parameter_that_prefect_records(
    ruddr_credentials: RuddrCredentials, rows: Rows
) -> None:
    """A history is large, and about customers: the record says how many rows there were."""
    recorded = recalibrate_stage_probabilities.serialize_parameters({"history": rows})
    assert recorded == {"history": f"<{len(rows)} rows>"}


def test_every_parameter_is_explained_in_the_form() -> None:
    """In plain sentences, without code."""
    form = recalibrate_stage_probabilities.parameters
    texts = {name: shown.get("description", "") for name, shown in form.properties.items()}
    assert [name for name, text in texts.items() if not text.endswith(".")] == []
    assert [name for name, text in texts.items() if "`" in text or "=" in text] == []


def test_the_examples_of_the_page_run(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    rows: Rows,
    *,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From a file the first prints what is proposed and why; from a query the second writes it."""
    page = Page("docs/recalibration.md")
    assert list(page.marked("example")) == ["dry run", "query"]
    as_csv(rows, tmp_path)
    monkeypatch.chdir(tmp_path)
    with stored(ruddr_credentials, "forecast", tmp_path / "warehouse.db"):
        page.run("dry run", {})
        assert "Proposal 0.5 0.3198 0.50 lies outside" in capsys.readouterr().out
        assert patches(sandbox) == []
        page.run("query", {})
    assert f"{len(patches(sandbox))} updated" in capsys.readouterr().out
