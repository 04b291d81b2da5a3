"""The summary of a run: a page that a person reads, what did not work first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prefect_ruddr.records.artifacts import publish
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY
from prefect_ruddr.stages.diff import value_texts
from prefect_ruddr.stages.outcome import (
    GOOD,
    SUMMARY_KEY,
    WORDS,
    StageOutcome,
    StageReport,
)
from prefect_ruddr.texts import count, markdown

MOST_LINES = 50
"""How many changes, or failures, the summary lists; the tables list all."""


def publish_summary(report: StageReport, what: str, how_to_undo: str | None) -> None:
    """Publish the summary as an artifact of this flow run.

    Args:
        report: What became of each update.
        what: What the run did, such as "Undo of apply 12 updates".
        how_to_undo: How to undo the run, in Markdown; None where there is nothing to undo.
    """
    publish(SUMMARY_KEY, "markdown", summary_markdown(report, what, how_to_undo))


def summary_markdown(report: StageReport, what: str, how_to_undo: str | None) -> str:
    """Return the report as a page that a person reads: what did not change and why, what did."""
    title = f"Dry run: {what}" if report.dry_run else f"{what[:1].upper()}{what[1:]}"
    where = f"Workspace **{markdown(report.workspace.name)}**. " if report.workspace else ""
    lines = [f"# {markdown(title)}: {report.summary()}", "", f"{where}{_verdict(report)}"]
    lines += [f"\n{markdown(warning)}" for warning in report.warnings]
    numbered = list(enumerate(report.outcomes, 1))
    bad = [each for each in numbered if each[1].outcome not in GOOD]
    lines += _section("What did not, and why", _failures(bad), bad)
    changed = [line for line in report.outcomes if line.outcome in {"updated", "planned"}]
    heading = "What would change" if report.dry_run else "What changed"
    lines += _section(heading, _changes(changed), changed)
    doubtful = [line for line in report.outcomes if line.outcome == "updated" and line.error]
    said = [f"- {markdown(line.label)}: {markdown(line.error)}" for line in doubtful[:MOST_LINES]]
    lines += _section("Confirmed by reading back", said, doubtful)
    if how_to_undo:
        lines += _section("How to undo it", [how_to_undo], [how_to_undo])
    return "\n".join(lines)


def _section(heading: str, lines: Iterable[str], about: Sequence[Any]) -> list[str]:
    if not about:
        return []
    more = len(about) - MOST_LINES
    rest = ["", f"… and {more} more: see artifact {OUTCOMES_KEY}."] if more > 0 else []
    return ["", f"## {heading}", "", *lines, *rest]


def _failures(bad: Sequence[tuple[int, StageOutcome]]) -> list[str]:
    return [
        "| update | stage | outcome | why |",
        "|---|---|---|---|",
        *(
            f"| {markdown(line.place or position)} | {markdown(line.label or '?')}"
            f" | {WORDS.get(line.outcome, line.outcome)} | {markdown(line.error or '')} |"
            for position, line in bad[:MOST_LINES]
        ),
    ]


def _changes(changed: Sequence[StageOutcome]) -> list[str]:
    return [
        "| stage | field | from | to |",
        "|---|---|---|---|",
        *(
            f"| {markdown(line.label)} | {field}"
            f" | {' | '.join(map(markdown, value_texts(before, after)))} |"
            for line in changed[:MOST_LINES]
            for field, before, after in line.steps
        ),
    ]


def _verdict(report: StageReport) -> str:
    if report.dry_run:
        return "Nothing was written."
    if report.succeeded:
        return "Every stage holds what was asked for."
    retryable = sum(outcome.retryable for outcome in report.outcomes)
    again = f" {count(retryable, 'update')} may succeed when run again." if retryable else ""
    return f"**Not every stage holds what was asked for.**{again}"
