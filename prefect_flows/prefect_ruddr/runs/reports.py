"""What a person sees of a run in Prefect: artifacts, events, and the words in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from prefect.events import emit_event

from prefect_ruddr.runs.artifacts import publish
from prefect_ruddr.stages.outcome import StageOutcome, StageReport
from prefect_ruddr.stages.plan import FieldChange, StageChange, StagePlan
from prefect_ruddr.stages.stage import FieldValue
from prefect_ruddr.texts import count

OUTCOMES_KEY = "ruddr-stage-outcomes"
SUMMARY_KEY = "ruddr-stage-summary"
UPDATED_EVENT = "ruddr.opportunity-stage.updated"

MOST_LINES = 50
"""How many changes, or failures, the summary lists; the tables list all."""


def value_text(value: FieldValue) -> str:
    """Return a field's value as a person reads it."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return value


def change_text(fields: Iterable[FieldChange]) -> str:
    """Return the changes of a stage on one line: `probability 0.75 → 0.8, is_active yes → no`."""
    return ", ".join(
        f"{change.field} {_short(change.before)} → {_short(change.after)}" for change in fields
    )


def publish_outcomes(report: StageReport, plan: StagePlan) -> None:
    """Publish the outcome table and the summary as artifacts of this flow run.

    Args:
        report: What became of each update.
        plan: The plan it is the account of, which an undo knows by its digest.
    """
    rows = [
        {
            "update": outcome.place or position,
            "stage id": str(outcome.stage_id) if outcome.stage_id else None,
            "stage": outcome.stage_name,
            "outcome": outcome.outcome,
            "change": _outcome_change(outcome),
            "attempts": outcome.attempts,
            "error": outcome.error,
        }
        for position, outcome in enumerate(report.outcomes, 1)
    ]
    description = f"### Outcomes: {report.summary()}"
    publish(OUTCOMES_KEY, "table", json.dumps(rows), description, {"digest": plan.digest})
    publish(SUMMARY_KEY, "markdown", summary_markdown(report))


def summary_markdown(report: StageReport) -> str:
    """Return the report as a page a person reads: what changed, what did not and why."""
    title = "Dry run" if report.dry_run else "Opportunity stages"
    where = f"Workspace **{_cell(report.workspace.name)}**. " if report.workspace else ""
    lines = [f"# {title}: {report.summary()}", "", f"{where}{_verdict(report)}", ""]
    planned = report.dry_run
    changed = [
        outcome
        for outcome in report.outcomes
        if outcome.outcome == ("not_attempted" if planned else "updated")
    ]
    if changed:
        lines += [f"## {'What would change' if planned else 'What changed'}", ""]
        lines += ["| stage | field | from | to |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(outcome.stage_name or outcome.stage_id)} | {field}"
            f" | {_cell(_short(outcome.before.get(field)))} | {_cell(_short(after))} |"
            for outcome in changed[:MOST_LINES]
            for field, after in outcome.after.items()
        ]
        lines += [*_and_more(changed), ""]
    left = [
        (position, outcome)
        for position, outcome in enumerate(report.outcomes, 1)
        if outcome.outcome not in {"updated", "unchanged"}
        and not (planned and outcome.outcome == "not_attempted")
    ]
    if left:
        lines += ["## What did not, and why", ""]
        lines += ["| update | stage | outcome | why |", "|---|---|---|---|"]
        lines += [
            f"| {_cell(outcome.place or position)}"
            f" | {_cell(outcome.stage_name or outcome.stage_id or '?')}"
            f" | {outcome.outcome.replace('_', ' ')} | {_cell(outcome.error or '')} |"
            for position, outcome in left[:MOST_LINES]
        ]
        lines += [*_and_more(left), ""]
    doubtful = [o for o in report.outcomes if o.outcome == "updated" and o.error]
    if doubtful:
        lines += ["## Confirmed by reading back", ""]
        lines += [f"- {_cell(o.stage_name)}: {_cell(o.error)}" for o in doubtful[:MOST_LINES]]
        lines += [*_and_more(doubtful), ""]
    if report.counts["updated"] and report.flow_run_id and not planned:
        lines += [
            "## How to take it back",
            "",
            "Run the deployment `undo-stage-updates` with this flow run's id:",
            "",
            "```",
            "prefect deployment run undo-stage-updates/default"
            f" --param flow_run_id={report.flow_run_id}",
            "```",
        ]
    return "\n".join(lines)


def emit_updated(change: StageChange) -> None:
    """Emit the event that automations react to: this stage was changed, from what to what."""
    emit_event(
        event=UPDATED_EVENT,
        resource={
            "prefect.resource.id": f"ruddr.opportunity-stage.{change.stage_id}",
            "prefect.resource.name": change.stage_name,
        },
        payload={
            "stage_id": str(change.stage_id),
            "changes": {
                field.field: {"before": field.before, "after": field.after}
                for field in change.fields
            },
        },
    )


def _verdict(report: StageReport) -> str:
    if report.dry_run:
        return "Nothing was written."
    if report.succeeded:
        return "Every stage holds what was asked for."
    retryable = sum(outcome.retryable for outcome in report.outcomes)
    again = f" {count(retryable, 'update')} may succeed when run again." if retryable else ""
    return f"**Not every stage holds what was asked for.**{again}"


def _outcome_change(outcome: StageOutcome) -> str | None:
    changes = (
        FieldChange(field=field, before=outcome.before.get(field), after=after)
        for field, after in outcome.after.items()
    )
    return change_text(changes) or None


def _short(value: FieldValue) -> str:
    text = " ".join(value_text(value).split())
    return text if len(text) <= 60 else f"{text[:57]}…"


def _cell(value: object) -> str:
    return str(value).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _and_more(listed: list[Any]) -> list[str]:
    more = len(listed) - MOST_LINES
    return ["", f"… and {more} more: see the outcome table."] if more > 0 else []
