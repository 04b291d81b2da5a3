"""Asks a person, in Prefect, whether a plan may be written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Running
from pydantic import Field

from prefect_ruddr.records.summary import MOST_LINES
from prefect_ruddr.stages.diff import change_text
from prefect_ruddr.stages.plan import RISKY_PROBABILITY_CHANGE, StageChange, StagePlan
from prefect_ruddr.texts import count, markdown

Approval: TypeAlias = Literal["never", "risky", "always"]
"""When a person is asked: never, when a change of the plan is risky, or for every plan."""

POLL_SECONDS = 2
"""How often Prefect is asked whether the answer has come."""


class PlanApproval(RunInput):
    """The form a person fills in: yes or no, to exactly this plan."""

    approve: bool = Field(
        default=False, title="Write this plan", description="Leave off to refuse it."
    )
    digest: str = Field(
        title="Digest of the plan (leave as it is)",
        description="It says that the answer is for the plan that is shown.",
    )


@dataclass(frozen=True)
class Question:
    """Whether a person is to be asked about a plan, and how.

    Attributes:
        approval: When to ask.
        risky_probability_change: By how much, from 0 to 1, a win probability may move without
            being risky.
        timeout_seconds: How long to wait for an answer, in seconds.
        most_changes: How many stages may change without being risky; None for any number.
    """

    approval: Approval = "never"
    risky_probability_change: float = RISKY_PROBABILITY_CHANGE
    timeout_seconds: int = 3600
    most_changes: int | None = None

    def is_asked(self, plan: StagePlan) -> bool:
        """Tell whether the plan is one to ask about."""
        if self.approval == "always":
            return bool(plan.changes)
        risky = self.too_many(plan) or any(self.risks(change) for change in plan.changes)
        return self.approval == "risky" and bool(risky)

    def too_many(self, plan: StagePlan) -> str | None:
        """Say so where more stages would change than may."""
        return plan.too_many(self.most_changes)

    def risks(self, change: StageChange) -> list[str]:
        """Say what is risky about a change."""
        return change.risks(self.risky_probability_change)


def refusal(plan: StagePlan, question: Question) -> str | None:
    """Ask whether the plan may be written, where that is asked for. Pauses the flow run.

    Args:
        plan: The plan, as it was published.
        question: Whether to ask, and how.

    Returns:
        Why the plan may not be written; None where it may.
    """
    if not question.is_asked(plan):
        return question.too_many(plan)
    get_run_logger().info(
        "Waiting up to %d s for an approval of plan %s", question.timeout_seconds, plan.digest
    )
    form = PlanApproval.with_initial_data(
        description=_described(plan, question), digest=plan.digest
    )
    try:
        # As a subflow of an async flow this one runs where an event loop does, too.
        answer = pause_flow_run(  # type: ignore[call-overload]  # _sync is async_dispatch's
            wait_for_input=form,
            timeout=question.timeout_seconds,
            poll_interval=POLL_SECONDS,
            _sync=True,
        )
    except FlowPauseTimeout:
        _leave_the_pause()
        return f"nobody approved plan {plan.digest} within {question.timeout_seconds} s"
    if not answer.approve:
        return f"plan {plan.digest} was refused"
    if "digest" not in answer.model_fields_set:
        return f"the approval did not say that it is for plan {plan.digest}"
    if answer.digest != plan.digest:
        return f"the approval was for plan {answer.digest[:40]}, not for this one, {plan.digest}"
    return None


def _leave_the_pause() -> None:
    # Prefect would end a run whose pause ran out with a message of its own, without the report.
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(flow_run.id), Running(), force=True)


def _described(plan: StagePlan, question: Question) -> str:
    where = f" in workspace **{plan.workspace.name}**" if plan.workspace else ""
    lines = [
        f"**Plan `{plan.digest}`** changes {count(len(plan.changes), 'stage')}{where}.",
        "The artifact `ruddr-stage-plan` of this run lists every field.",
        "",
    ]
    if too_many := question.too_many(plan):
        lines += [f"**Risky:** {too_many}.", ""]
    for change in plan.changes[:MOST_LINES]:
        risks = question.risks(change)
        warning = f" — **risky:** {'; '.join(risks)}" if risks else ""
        text = markdown(f"{change.label}: {change_text(change.steps)}")
        lines.append(f"- {text}{warning}")
    if len(plan.changes) > MOST_LINES:
        lines.append(f"- … and {len(plan.changes) - MOST_LINES} more")
    lines += [f"- {markdown(text)}" for text in plan.cannot_be_undone()]
    return "\n".join(lines)
