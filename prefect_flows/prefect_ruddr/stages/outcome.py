"""What became of each update, and the report of a whole run. Pure: no I/O, no Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, TypeAlias, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, computed_field
from rich.text import Text

from prefect_ruddr.errors import RuddrError, RuddrRequestError
from prefect_ruddr.stages.diff import Entry, FieldStep, Shown, diff
from prefect_ruddr.stages.plan import StageChange, labelled
from prefect_ruddr.stages.stage import FieldName, FieldValue, Stage, Workspace
from prefect_ruddr.stages.update import StageUpdate

Outcome: TypeAlias = Literal[
    "failed", "conflict", "rejected", "not_attempted", "updated", "planned", "unchanged"
]
"""How an update can end; every update ends in exactly one of these."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""What did not work comes first, as that is what a person looks for."""

GOOD: frozenset[Outcome] = frozenset({"updated", "planned", "unchanged"})
"""The outcomes that nobody has to do anything about."""

SUMMARY_KEY = "ruddr-stage-summary"
"""The artifact of a flow run that tells of all that did not work, and why."""

WORDS: Mapping[Outcome, str] = {"planned": "would change", "not_attempted": "not attempted"}
"""How an outcome reads to people, where that is not its name."""

_STYLES: Mapping[Outcome, str] = {
    "failed": "bold red",
    "conflict": "bold red",
    "rejected": "bold red",
    "not_attempted": "yellow",
    "updated": "green",
    "planned": "cyan",
}


class StageOutcome(BaseModel):
    """What became of one update.

    Attributes:
        outcome: "updated": Ruddr confirmed it. "unchanged": the stage held the values already.
            "planned": it would be written if this were no dry run. "rejected": bad input,
            nothing sent. "conflict": somebody changed the stage after it was planned; not
            written, or changed again since it was. "failed": Ruddr refused it or did not
            answer. "not_attempted": the run ended before its turn.
        stage_id: The stage; None where the input did not say which.
        stage_name: What the stage was called; None where it was not read.
        pipeline: What tells the stage apart from others of its name, or None.
        before: The values of the differing fields as they were.
        after: The values of the differing fields as they were wanted.
        written: Whether the change was carried out: True where Ruddr confirmed it, False where
            it was not, None where nobody can tell.
        attempts: How many times the PATCH was sent.
        error: What went wrong, in one line; also what is doubtful about a success.
        retryable: Whether the same update may succeed in another run.
        place: Where the update comes from, such as "stages.csv line 7", if it says.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    stage_id: UUID | None = None
    stage_name: str | None = None
    pipeline: str | None = None
    before: dict[FieldName, FieldValue] = {}
    after: dict[FieldName, FieldValue] = {}
    written: bool | None = False
    attempts: int = 0
    error: str | None = None
    retryable: bool = False
    place: str | None = None

    @classmethod
    def of(cls, change: StageChange, outcome: Outcome, error: str | None = None) -> Self:
        """Return the outcome of a change for which nothing was sent."""
        return cls(
            outcome=outcome,
            stage_id=change.stage_id,
            stage_name=change.stage_name,
            pipeline=change.pipeline,
            before=change.before,
            after=change.after,
            error=error,
            retryable=outcome == "not_attempted" and change.unwritable() is None,
        )

    @classmethod
    def unchanged(cls, stage: Stage) -> Self:
        """Return the outcome of an update whose stage held everything already."""
        return cls(outcome="unchanged", stage_id=stage.id, stage_name=stage.name)

    @classmethod
    def updated(cls, change: StageChange, *, attempts: int, error: str | None = None) -> Self:
        """Return the outcome of a change that was written."""
        return cls.of(change, "updated", error).model_copy(
            update={"written": True, "attempts": attempts}
        )

    @classmethod
    def failure(cls, change: StageChange, error: BaseException) -> Self:
        """Return the outcome of a change whose step raised."""
        failed = cls.of(change, "failed", " ".join(str(error).split()) or type(error).__name__)
        if isinstance(error, RuddrRequestError):
            return failed.model_copy(
                update={
                    "attempts": error.attempts,
                    "retryable": error.retryable,
                    "written": None if error.may_have_been_applied else False,
                }
            )
        return failed

    @property
    def steps(self) -> tuple[FieldStep, ...]:
        """The fields that differ, each with the value before and the value wanted."""
        return tuple((field, self.before.get(field), after) for field, after in self.after.items())

    @property
    def label(self) -> str | None:
        """What a person knows the stage by; its id where the name is not known."""
        if self.stage_name is None:
            return str(self.stage_id) if self.stage_id else None
        return labelled(self.stage_name, self.pipeline)


class StageReport(Shown, BaseModel):
    """What a run did: one outcome for each update, in the order they came in.

    Attributes:
        outcomes: One for each update.
        flow_run_id: The flow run that did it, which is what an undo asks for.
        workspace: The workspace; None where nothing had to be written.
        dry_run: Whether the run only planned.
        warnings: What else a person should know, such as that the stages could not be read
            once more at the end.
    """

    model_config = ConfigDict(frozen=True)

    outcomes: tuple[StageOutcome, ...]
    flow_run_id: UUID | None = None
    workspace: Workspace | None = None
    dry_run: bool = False
    warnings: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def counts(self) -> dict[Outcome, int]:
        """How many updates ended in each outcome; they add up to the input."""
        found = Counter(outcome.outcome for outcome in self.outcomes)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def succeeded(self) -> bool:
        """Whether every update is in effect; in a dry run, whether every update could be."""
        return all(outcome.outcome in GOOD for outcome in self.outcomes)

    def diff(self, most: int | None = None) -> Text:
        """Return the report as a text for people: `print` and `rich.print` show it too.

        Args:
            most: How many updates to show; None for all. Those that needed nothing are counted.
        """
        lines = sorted(
            (line for line in self.outcomes if line.outcome != "unchanged"),
            key=lambda line: OUTCOMES.index(line.outcome),
        )
        shown = lines if most is None else lines[:most]
        title = f"{'Dry run: ' if self.dry_run else ''}{self.summary()}"
        entries = (
            Entry(
                line.label or line.place or "no stage",
                line.steps,
                WORDS.get(line.outcome, line.outcome),
                _STYLES[line.outcome],
                line.error,
            )
            for line in shown
        )
        text = diff(title, entries, len(lines) - len(shown))
        for warning in self.warnings:
            text.append(f"\n  {warning}", "not bold yellow")
        return text

    def retryable(self) -> list[StageUpdate]:
        """Return the updates that may succeed when they are sent again, in order.

        Without those that gave a stage by name when the run ended before it was found.
        """
        return [
            StageUpdate.model_validate({"id": outcome.stage_id, **outcome.after})
            for outcome in self.outcomes
            if outcome.retryable and outcome.stage_id
        ]

    def summary(self) -> str:
        """Return the counts that are not zero, such as "1 conflict, 3 updated"."""
        listed = [
            f"{count} {WORDS.get(outcome, outcome)}"
            for outcome, count in self.counts.items()
            if count
        ]
        return ", ".join(listed) or "no updates"

    def in_one_line(self) -> str:
        """Return the summary, and for a run that did not go well what went wrong first."""
        line = f"{'Dry run: ' if self.dry_run else ''}{self.summary()}"
        return line if self.succeeded else f"{line}: {self.failures()}"

    def failures(self, most: int = 3) -> str:
        """Name the first updates that did not end well, and why.

        Those that were not attempted share their reason, which is told where there are no
        others.

        Args:
            most: How many to name; the others are counted.
        """
        bad = [
            (position, line)
            for position, line in enumerate(self.outcomes, 1)
            if line.outcome not in GOOD
        ]
        own = [
            f"{line.place or f'update {position}'} ({line.label or 'no stage'}): {line.error}"
            for position, line in bad
            if line.outcome != "not_attempted"
        ]
        if not own:
            return "; ".join(dict.fromkeys(line.error or "not attempted" for _, line in bad))
        where = f" (see artifact {SUMMARY_KEY})" if self.flow_run_id else ""
        more = [f"and {len(own) - most} more{where}"] if len(own) > most else []
        return "; ".join(own[:most] + more)


class StageUpdatesFailed(RuddrError):
    """A run that ended with updates that are not in effect.

    Attributes:
        report: The whole report: one outcome for each update, in input order.
    """

    def __init__(self, message: str, report: StageReport) -> None:
        self.report = report
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (*self.args, self.report))


class RunNotRecorded(StageUpdatesFailed):
    """A run whose end Prefect could not record; `report` says what is in effect."""


class Ledger:
    """What became of the stages of a run so far, by stage."""

    def __init__(self) -> None:
        self._settled: dict[UUID, StageOutcome] = {}

    def settle(self, outcomes: Iterable[StageOutcome]) -> None:
        """Record what became of stages; what is recorded later counts."""
        self._settled.update(
            (outcome.stage_id, outcome) for outcome in outcomes if outcome.stage_id
        )

    def settled(self, stage_id: UUID) -> StageOutcome:
        """Return what became of a stage, as far as it is recorded."""
        return self._settled[stage_id]

    def close(self, lines: Iterable[StageOutcome], why: str | None) -> tuple[StageOutcome, ...]:
        """Return one outcome for each update.

        Args:
            lines: What each update comes to where nothing became of its stage, in input order.
            why: Why those that were not attempted were not.
        """
        return tuple(self._closed(line, why) for line in lines)

    def _closed(self, line: StageOutcome, why: str | None) -> StageOutcome:
        if line.outcome != "not_attempted":
            return line
        if line.stage_id in self._settled:
            line = self._settled[line.stage_id].model_copy(update={"place": line.place})
        if line.outcome == "not_attempted" and line.error is None:
            return line.model_copy(update={"error": why})
        return line
