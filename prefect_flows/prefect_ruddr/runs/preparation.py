"""Two ways to prepare a run: from rows that somebody wants, or from changes planned before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from prefect_ruddr.api.reading import LiveStages
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.runs.applying import require_workspace
from prefect_ruddr.runs.intake import Intake, Row, intake
from prefect_ruddr.runs.steps import read_stages
from prefect_ruddr.sources.rows import OnInvalid
from prefect_ruddr.stages.order import WriteOrder, swap_errors, write_order
from prefect_ruddr.stages.outcome import Ledger, StageOutcome
from prefect_ruddr.stages.plan import StageChange, StagePlan, told_apart
from prefect_ruddr.stages.stage import FieldName, Stage


class NotWritten(Exception):
    """Why a run ends without writing anything, or anything more."""


@dataclass(frozen=True)
class Rules:
    """What a run may do.

    Attributes:
        on_invalid: What to do about rows that are wrong.
        only_fields: The fields that may be set; None for all.
        swap_names: Whether stages may swap their names, over a third one.
    """

    on_invalid: OnInvalid = "stop"
    only_fields: Sequence[FieldName] | None = None
    swap_names: bool = False


@dataclass(frozen=True)
class Prepared:
    """What there is to write.

    Attributes:
        plan: The changes.
        order: The same, as they can be written.
        listed: The ids of stages as Ruddr lists them, as far as they were read.
    """

    plan: StagePlan = field(default_factory=lambda: StagePlan(workspace=None, changes=()))
    order: WriteOrder = field(default_factory=lambda: WriteOrder((), (), ()))
    listed: tuple[UUID, ...] = ()


class Preparation(Protocol):
    """A way to find out what there is to write."""

    def lines(self) -> Iterable[StageOutcome]:
        """Return what each update comes to where nothing becomes of its stage, in order."""

    def prepare(self, ruddr_credentials: RuddrCredentials, ledger: Ledger) -> Prepared:
        """Read what is live, record what needs no write, and return what does.

        Raises:
            NotWritten: When nothing is to be written, as something is wrong.
            RuddrRequestError: When the stages cannot be read.
        """


class FromRows:
    """Plans what rows want.

    Args:
        rows: Updates, stages, mappings with the names of either, or rows that have a place.
        rules: What the run may do.
    """

    def __init__(self, rows: Sequence[Row], rules: Rules) -> None:
        self._rows = rows
        self._rules = rules
        self._judged = intake(())

    def lines(self) -> Iterable[StageOutcome]:
        """Return what each row comes to where nothing becomes of its stage, in order."""
        return (row.outcome for row in self._judged.rows)

    @property
    def judged(self) -> Intake:
        """What is known of the rows so far."""
        return self._judged

    def prepare(self, ruddr_credentials: RuddrCredentials, ledger: Ledger) -> Prepared:
        """Read what is live, record what needs no write, and return what does."""
        self._judged = judged = intake(self._rows, ruddr_credentials.pipeline_names)
        judged.refuse_other_fields(self._rules.only_fields)
        if not judged.by_name:
            self._stop_at_errors()
        wanted = None if judged.by_name else judged.stage_ids
        live = read_stages(ruddr_credentials, wanted) if wanted != [] else LiveStages({}, ())
        judged.compare(live.stages)
        self._stop_at_errors()
        plan, order = judged.planned(live, swap_names=self._rules.swap_names)
        self._stop_at_errors()
        ledger.settle(StageOutcome.unchanged(live.stages[each]) for each in plan.unchanged)
        if plan.changes:
            # Asked for only now, so that a run without changes sends nothing but the reads.
            plan = plan.model_copy(update={"workspace": ruddr_credentials.verify()})
        return Prepared(plan, order, live.order)

    def _stop_at_errors(self) -> None:
        errors = self._judged.errors
        if errors and self._rules.on_invalid == "stop":
            done = "written" if self._judged.by_name else "sent"
            raise NotWritten(
                f"nothing was {done}, as {len(errors)} of {len(self._judged.rows)} updates were"
                ' rejected: correct them, or choose on_invalid="skip"'
            )


class FromChanges:
    """Compares changes that were planned before with what is live.

    Args:
        plan: The changes, and the workspace that they are for.
        rules: What the run may do.
    """

    def __init__(self, plan: StagePlan, rules: Rules) -> None:
        self._plan = plan
        self._rules = rules

    def lines(self) -> Iterable[StageOutcome]:
        """Return what each change comes to where nothing becomes of its stage, in order."""
        return (StageOutcome.of(change, "not_attempted") for change in self._plan.changes)

    def prepare(self, ruddr_credentials: RuddrCredentials, ledger: Ledger) -> Prepared:
        """Read what is live, record what needs no write, and return what does."""
        planned = self._plan
        if not planned.changes:
            return Prepared()
        require_workspace(ruddr_credentials, planned)
        live = read_stages(ruddr_credentials, [change.stage_id for change in planned.changes])
        stages, pipelines = live.stages.values(), ruddr_credentials.pipeline_names
        names = told_apart(stages, pipelines, whole=live.whole)
        valid = []
        for change in planned.changes:
            stage = live.stages.get(change.stage_id)
            if stage is None:
                why = "the workspace has no such stage"
                ledger.settle([StageOutcome.of(change, "failed", why)])
                continue
            named = change.model_copy(
                update={"stage_name": stage.name, "pipeline": names.get(stage.id)}
            )
            if outcome := _needs_no_write(named, stage):
                ledger.settle([outcome])
            else:
                valid.append(named)
        order = write_order(valid, live.stages)
        if not self._rules.swap_names:
            why_not = swap_errors(order)
            ledger.settle(
                StageOutcome.of(change, "rejected", why_not[change.stage_id])
                for change in valid
                if change.stage_id in why_not
            )
            valid = [change for change in valid if change.stage_id not in why_not]
            order = write_order(valid, live.stages)
        now = datetime.now(UTC)
        plan = planned.model_copy(update={"changes": tuple(valid), "created_at": now})
        return Prepared(plan, order, live.order)


def _needs_no_write(change: StageChange, stage: Stage) -> StageOutcome | None:
    compared = change.compared_with(stage)
    if compared == "conflict":
        return StageOutcome.of(change, "conflict", change.overtaken_by(stage))
    if why := change.unwritable():
        return StageOutcome.of(change, "rejected", why)
    if compared == "already applied":
        return StageOutcome.of(change, "unchanged")
    return None
