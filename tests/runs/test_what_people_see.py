"""What a run shows in Prefect: plan, progress, steps, log lines, events, outcomes, summary."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import RuddrCredentials, apply_stage_updates, undo_stage_updates
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.records.progress import PROGRESS_KEY
from prefect_ruddr.runs.steps import UPDATED_EVENT
from prefect_ruddr.sandbox import RecordedRequest, Sandbox
from prefect_ruddr.stages.outcome import SUMMARY_KEY

from .conftest import OnRequest
from .records import (
    artifacts,
    events,
    eventually,
    flow_runs_under_way,
    logs,
    markdown,
    run,
    table,
    task_runs,
)

UNKNOWN_ID = "0c6d4e1f-5a53-4b0e-9a43-3d0f6c1f2b77"

SUMMARY = """\
# Apply 5 updates: 1 failed, 1 rejected, 2 updated, 1 unchanged

Workspace **Acme Consulting**. **Not every stage holds what was asked for.**

## What did not, and why

| update | stage | outcome | why |
|---|---|---|---|
| 4 | Renewal Due | failed | stage {read_only}: HTTP 409: This opportunity stage is read-only. |
| 5 | {unknown} | rejected | id = {unknown}: the workspace has no such stage |

## What changed

| stage | field | from | to |
|---|---|---|---|
| Negotiation (pipeline {pipeline}) | name | Negotiation | Terms \\| Price |
| Negotiation (pipeline {pipeline}) | description | Terms are being discussed. | (none) |
| Negotiation (pipeline {pipeline}) | probability | 0.75 | 0.8 |
| Price Review | is_active | no | yes |

## How to undo it

```python
from prefect_ruddr import RuddrCredentials, undo_stage_updates
ruddr_credentials = RuddrCredentials.from_env()
flow_run_id = "{flow_run_id}"
undo_stage_updates(ruddr_credentials, flow_run_id)
```"""

DRY_RUN_SUMMARY = """\
# Dry run: apply 2 updates: 1 would change, 1 unchanged

Workspace **Acme Consulting**. Nothing was written.

## What would change

| stage | field | from | to |
|---|---|---|---|
| Negotiation (pipeline {pipeline}) | probability | 0.75 | 0.8 |"""


def stage_id(sandbox: Sandbox, name: str) -> str:
    """Return the id of the newest stage of a name."""
    return str(next(s["id"] for s in sandbox.stages if s["name"] == name))


def test_the_plan_is_in_prefect_before_the_first_write(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, on_request: OnRequest
) -> None:
    """When the first PATCH arrives, the table that an undo needs is there already."""
    there: list[list[dict[str, Any]]] = []

    def look(request: RecordedRequest) -> None:
        if request.method == "PATCH":
            run_ids = [UUID(record["id"]) for record in flow_runs_under_way()]
            there.append([a for run_id in run_ids for a in artifacts(run_id, PLAN_KEY)])

    on_request(look)
    stage = sandbox.stages[0]
    ended = run(apply_stage_updates, ruddr_credentials, [{"id": stage["id"], "name": "New"}])
    assert ended.outcomes == ["updated"]
    of_this_run = [
        [artifact for artifact in seen if artifact["flow_run_id"] == str(ended.flow_run_id)]
        for seen in there
    ]
    assert of_this_run == [artifacts(ended.flow_run_id, PLAN_KEY)]
    assert len(of_this_run[0]) == 1


def test_each_change_is_a_step_with_a_name_a_line_and_an_event(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A person finds the stage among the task runs, in the log, and an automation hears of it."""
    chosen = sandbox.stages[:3]
    updates = [{"id": s["id"], "probability": 0.37, "isActive": False} for s in chosen]

    flow_run_id = run(apply_stage_updates, ruddr_credentials, updates).flow_run_id

    labels = {s["id"]: f"{s['name']} (pipeline {s['opportunityPipelineId'][:8]})" for s in chosen}
    recorded = eventually(
        lambda: [t for t in task_runs(flow_run_id) if ":" in t["name"]],
        lambda found: [t["state_type"] for t in found] == ["COMPLETED"] * 3,
    )
    names = {f"{label}: probability, is_active" for label in labels.values()}
    assert {task_run["name"] for task_run in recorded} == names

    lines = {
        f"{labels[s['id']]}: probability {s['probability']:g} → 0.37, is_active yes → no"
        for s in chosen
    }
    said = eventually(
        lambda: [
            line for line in logs(flow_run_id) if line["task_run_id"] and "→" in line["message"]
        ],
        lambda found: len(found) >= 3,
    )
    assert sorted(line["message"] for line in said) == sorted(lines)
    assert {line["task_run_id"] for line in said} == {task_run["id"] for task_run in recorded}

    emitted = eventually(lambda: events(flow_run_id, UPDATED_EVENT), lambda found: len(found) >= 3)
    assert {event["resource"]["prefect.resource.id"]: event["payload"] for event in emitted} == {
        f"ruddr.opportunity-stage.{s['id']}": {
            "stage_id": s["id"],
            "changes": {
                "probability": {"before": s["probability"], "after": 0.37},
                "is_active": {"before": True, "after": False},
            },
        }
        for s in chosen
    }

    (progress,) = artifacts(flow_run_id, PROGRESS_KEY)
    assert (progress["type"], float(progress["data"])) == ("progress", 100.0)


def test_the_plan_table_has_a_row_for_each_changed_field(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Stage id, stage, field, before, after: and above it what is planned for whom."""
    stage = next(s for s in sandbox.stages if s["description"] is None)
    update = {"id": stage["id"], "description": "New.", "probability": 0.37, "name": stage["name"]}
    ended = run(apply_stage_updates, ruddr_credentials, [update], dry_run=True)
    # Read by its id alone, it may not be the only one of its name.
    pipeline = stage["opportunityPipelineId"][:8]
    said = {"stage id": stage["id"], "stage": f"{stage['name']} (pipeline {pipeline})"}
    assert table(ended.flow_run_id, PLAN_KEY) == [
        {**said, "field": "description", "before": None, "after": "New."},
        {**said, "field": "probability", "before": stage["probability"], "after": 0.37},
    ]
    (artifact,) = artifacts(ended.flow_run_id, PLAN_KEY)
    workspace = sandbox.workspace
    assert artifact["description"].splitlines() == [
        f"### Plan `{artifact['metadata_']['digest']}`",
        f"1 stage to change, 0 unchanged in workspace **{workspace['name']}**"
        f" (`{workspace['id']}`). A dry run: nothing is written.",
    ]


def test_long_descriptions_leave_both_sides_of_the_plan_table_in_view(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Each cell shows where they differ; the whole texts are on the right, and an undo has them."""
    stage = sandbox.stages[0]["id"]
    said = "The buyer has seen the proposal and has asked for terms. "
    sandbox.edit(stage, description=f"{said}Legal reads the draft.")
    update = {"id": stage, "description": f"{said}Legal has signed it.", "probability": 0.37}
    ended = run(apply_stage_updates, ruddr_credentials, [update])
    rows = table(ended.flow_run_id, PLAN_KEY)
    in_view = ["stage", "field", "before", "after", "stage id"]
    assert [list(row) for row in rows] == [[*in_view, "before in full", "after in full"]] * 2
    assert rows[0]["before"] == "…d for terms. Legal reads the draft."
    assert rows[0]["after"] == "…d for terms. Legal has signed it."
    assert rows[0]["after in full"] == update["description"]
    assert rows[1]["after in full"] == rows[1]["after"] == 0.37
    run(undo_stage_updates, ruddr_credentials, ended.flow_run_id)
    assert sandbox.stage(stage)["description"] == f"{said}Legal reads the draft."


def test_the_summary_reads_well(sandbox: Sandbox, ruddr_credentials: RuddrCredentials) -> None:
    """What changed from what to what, what did not and why, and how to undo it."""
    negotiation = stage_id(sandbox, "Negotiation")
    read_only = stage_id(sandbox, "Renewal Due")
    sandbox.make_read_only(read_only)
    updates = [
        {"id": negotiation, "name": "Terms | Price", "probability": 0.8, "description": None},
        {"id": stage_id(sandbox, "Discovery"), "probability": 0.25},
        {"id": stage_id(sandbox, "Price Review"), "is_active": True},
        {"id": read_only, "name": "Due"},
        {"id": UNKNOWN_ID, "name": "Nowhere"},
    ]

    ended = run(apply_stage_updates, ruddr_credentials, updates, on_invalid="skip")

    pipeline = sandbox.stage(negotiation)["opportunityPipelineId"][:8]
    assert markdown(ended.flow_run_id, SUMMARY_KEY) == SUMMARY.format(
        flow_run_id=ended.flow_run_id, read_only=read_only, unknown=UNKNOWN_ID, pipeline=pipeline
    )
    assert ended.state.is_failed()
    changes = (
        "name Negotiation → Terms | Price, description Terms are being discussed. → (none),"
        " probability 0.75 → 0.8"
    )
    rows = table(ended.flow_run_id, OUTCOMES_KEY)
    assert rows[0] == {
        "update": 1,
        "stage id": negotiation,
        "stage": f"Negotiation (pipeline {pipeline})",
        "outcome": "updated",
        "change": changes,
        "attempts": 1,
        "written": "yes",
        "error": None,
    }
    assert [(row["update"], row["outcome"], row["attempts"]) for row in rows[1:]] == [
        (2, "unchanged", 0),
        (3, "updated", 1),
        (4, "failed", 1),
        (5, "rejected", 0),
    ]


def test_the_summary_of_a_dry_run_says_what_would_change(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The same page, in the conditional, and nothing to undo."""
    updates = [
        {"id": stage_id(sandbox, "Negotiation"), "probability": 0.8},
        {"id": stage_id(sandbox, "Discovery"), "probability": 0.25},
    ]
    ended = run(apply_stage_updates, ruddr_credentials, updates, dry_run=True)
    negotiation = sandbox.stage(stage_id(sandbox, "Negotiation"))
    pipeline = negotiation["opportunityPipelineId"][:8]
    assert markdown(ended.flow_run_id, SUMMARY_KEY) == DRY_RUN_SUMMARY.format(pipeline=pipeline)


@pytest.mark.parametrize(
    ("updates", "says"),
    [
        pytest.param("all", "# Apply 18 updates: 18 unchanged\n", id="nothing to do"),
        pytest.param("wrong", "# Apply 2 updates: 1 rejected, 1 not attempted\n", id="bad row"),
    ],
)
def test_a_run_that_wrote_nothing_offers_nothing_to_undo(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, updates: str, says: str
) -> None:
    """The summary ends where there is no more to say."""
    rows = [{"id": s["id"], "name": s["name"]} for s in sandbox.stages]
    if updates == "wrong":
        rows = [rows[0], {"id": rows[1]["id"], "name": ""}]
    ended = run(apply_stage_updates, ruddr_credentials, rows)
    page = markdown(ended.flow_run_id, SUMMARY_KEY)
    assert page.startswith(says)
    assert "undo it" not in page
