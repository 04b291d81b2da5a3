"""Shows a run to people: its plan before the first write, and its report at the end."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_UI_URL
from rich.console import Console

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.prefect_api import few_retries
from prefect_ruddr.records.events import emit_run
from prefect_ruddr.records.outcome_table import publish_outcomes
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.records.summary import publish_summary
from prefect_ruddr.records.undoing import how_to_undo
from prefect_ruddr.runs.recording import MOST_RETRIES, note_missing
from prefect_ruddr.stages.outcome import StageReport
from prefect_ruddr.stages.plan import StagePlan

_GENERATED = re.compile("[a-z]+-[a-z]+")
"""What the names look like that Prefect makes up, such as "fuzzy-cat"."""

MOST_LOGGED = 50
"""How many stages of a plan the log shows; the artifact has all."""


def name_run(what: str) -> None:
    """Call this flow run what it does, where nobody has given it a name."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow is None:
        return
    if context.flow.flow_run_name is None and _GENERATED.fullmatch(context.flow_run.name):
        # A name is no reason to fail.
        with suppress(Exception), get_client(sync_client=True) as client:
            client.set_flow_run_name(context.flow_run.id, what)


def show_plan(plan: StagePlan, artifact: UUID) -> None:
    """Show the plan in the run's log and, in a terminal, as a coloured diff.

    Args:
        plan: The plan.
        artifact: The id of the artifact that has all of it.
    """
    logger = get_run_logger()
    shown = plan.diff(MOST_LOGGED)
    whole = f"\n  All of it: {_page_of(artifact) or f'artifact {PLAN_KEY}'}"
    console = Console(stderr=True)
    if not console.is_terminal:
        logger.info("%s%s", shown.plain, whole)
        return
    console.print(shown, whole, sep="", soft_wrap=True)
    _log_to_prefect_alone(logger, f"{shown.plain}{whole}")


def publish_report(
    report: StageReport, plan: StagePlan, what: str, ruddr_credentials: RuddrCredentials
) -> None:
    """Publish what became of every update, in Prefect or, where it cannot be reached, in the log.

    Args:
        report: What became of each update.
        plan: The plan that it is the account of.
        what: What the run did, as a person says it.
        ruddr_credentials: The key that it was done with.
    """
    logger = get_run_logger()
    written = any(outcome.written is not False for outcome in report.outcomes)
    try:
        with few_retries(MOST_RETRIES):
            publish_outcomes(report, plan)
            undo = None
            if written and report.flow_run_id:
                undo = how_to_undo(report.flow_run_id, ruddr_credentials.block_name)
            publish_summary(report, what, undo)
            emit_run(report)
    except Exception as error:  # noqa: BLE001  # what was written is written: the caller is told
        logger.error("The outcomes are not shown in Prefect: %s", error)  # noqa: TRY400
        logger.info("%s", report.diff().plain)
        note_missing(report)
    logger.info("%s", report.in_one_line())
    for warning in report.warnings:
        logger.warning("%s", warning)
    if written and report.counts["not_attempted"]:
        logger.info(
            "Run it again to write the rest, or undo what was written with the id %s",
            report.flow_run_id,
        )


def _page_of(artifact: UUID) -> str | None:
    """Return where Prefect's UI shows an artifact, where there is one; `url_for` does not say."""
    address: str | None = PREFECT_UI_URL.value()
    return f"{address.rstrip('/')}/artifacts/artifact/{artifact}" if address else None


def _log_to_prefect_alone(
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger], text: str
) -> None:
    """Log a line that the terminal has been shown already."""
    plain = logger.logger if isinstance(logger, logging.LoggerAdapter) else logger
    extra = dict(logger.extra or {}) if isinstance(logger, logging.LoggerAdapter) else {}
    record = plain.makeRecord(
        plain.name, logging.INFO, __file__, 0, text, (), None, "show_plan", extra
    )
    for handler in plain.handlers:
        handler.handle(record)
