"""A recalibration in Prefect: a table of all stages, and a page with what speaks for it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable

from prefect_ruddr.recalibration.pictures import change_picture, reliability_picture
from prefect_ruddr.recalibration.result import Recalibration
from prefect_ruddr.recalibration.table import backtest_sentences, finding, stage_rows
from prefect_ruddr.records.artifacts import publish, publish_table
from prefect_ruddr.texts import LONGEST_TEXT, count, markdown

RECALIBRATION_KEY = "ruddr-stage-recalibration"
"""The table: a row for each stage, those that are left alone too."""

EVIDENCE_KEY = "ruddr-recalibration-evidence"
"""The page: the backtest, the warnings, the pictures."""


def publish_recalibration(recalibration: Recalibration) -> None:
    """Publish what a person reads before they approve, as two artifacts of this flow run.

    Raises:
        ExtraMissing: When matplotlib is not installed.
    """
    title = f"### {finding(recalibration)}\n{_basis(recalibration)}"
    page = evidence_markdown(recalibration)
    publish_table(RECALIBRATION_KEY, stage_rows(recalibration), title, {})
    publish(EVIDENCE_KEY, "markdown", page)


def evidence_markdown(recalibration: Recalibration) -> str:
    """Return the page, with its pictures in it.

    Raises:
        ExtraMissing: When matplotlib is not installed.
    """
    lines = [f"# Recalibration: {finding(recalibration)}", "", _basis(recalibration)]
    if recalibration.warnings:
        lines += ["", "## Before you trust it", "", *_listed(recalibration.warnings)]
    lines += ["", "## The backtest", "", *_listed(backtest_sentences(recalibration))]
    changes = _picture("Today's and proposed numbers", change_picture(recalibration))
    lines += ["", "## What changes", "", changes]
    if reliability := reliability_picture(recalibration):
        picture = _picture("Forecast against what happened", reliability)
        lines += ["", "## Forecast against what happened", "", picture]
    return "\n".join(lines)


def _basis(recalibration: Recalibration) -> str:
    return (
        f"From {count(recalibration.rows, 'row')} about {count(recalibration.deals, 'deal')}, as of"
        f" {recalibration.as_of:%Y-%m-%d %H:%M} UTC. Deals count that entered a stage in the last"
        f" {recalibration.window_days} days, as won where that came within"
        f" {recalibration.horizon_days} days."
    )


def _listed(texts: Iterable[str]) -> list[str]:
    return [f"- {markdown(text, 4 * LONGEST_TEXT)}" for text in texts]


def _picture(title: str, png: bytes) -> str:
    # Prefect's image artifact takes a URL that a server has to answer; this needs none.
    return f"![{title}](data:image/png;base64,{b64encode(png).decode()})"
