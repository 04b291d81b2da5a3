"""What became of each update, and the report of a whole run. Pure: no I/O, no Prefect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Self, TypeAlias, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, computed_field

from prefect_ruddr.errors import RuddrError, RuddrRequestError
from prefect_ruddr.stages.plan import StageChange
from prefect_ruddr.stages.stage import FieldName, FieldValue, Stage, Workspace
from prefect_ruddr.stages.update import StageUpdate

Outcome: TypeAlias = Literal[
    "updated", "unchanged", "rejected", "conflict", "failed", "not_attempted"
]
"""How an update can end; every update ends in exactly one of these."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class StageOutcome(BaseModel):
    """What became of one update.

    Attributes:
        outcome: "updated": Ruddr confirmed it. "unchanged": the stage held the values already.
            "rejected": bad input, nothing sent. "conflict": somebody changed the stage after
            it was planned, not written. "failed": Ruddr refused it or did not answer.
            "not_attempted": the run ended before its turn, or was a dry run.
        stage_id: The stage; None where the input did not say which.
        stage_name: What the stage was called; None where it was not read.
        before: The values of the differing fields as they were.
        after: The values of the differing fields as they were wanted.
        attempts: How many times the PATCH was sent.
        error: What went wrong, in one line; also what is doubtful about a success.
        retryable: Whether the same update may succeed in another run.
        place: Where the update comes from, such as "stages.csv line 7", if it says.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    stage_id: UUID | None = None
    stage_name: str | None = None
    before: dict[FieldName, FieldValue] = {}
    after: dict[FieldName, FieldValue] = {}
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
            before=change.before,
            after=change.after,
            error=error,
            retryable=outcome == "not_attempted" and change.is_writable,
        )

    @classmethod
    def unchanged(cls, stage: Stage) -> Self:
        """Return the outcome of an update whose stage held everything already."""
        return cls(outcome="unchanged", stage_id=stage.id, stage_name=stage.name)

    @classmethod
    def sent(
        cls, change: StageChange, outcome: Outcome, *, attempts: int, error: str | None = None
    ) -> Self:
        """Return the outcome of a change that was sent."""
        return cls.of(change, outcome, error).model_copy(update={"attempts": attempts})

    @classmethod
    def failure(cls, change: StageChange, error: BaseException) -> Self:
        """Return the outcome of a change whose step raised."""
        failed = cls.of(change, "failed", " ".join(str(error).split()) or type(error).__name__)
        if isinstance(error, RuddrRequestError):
            return failed.model_copy(
                update={"attempts": error.attempts, "retryable": error.retryable}
            )
        return failed


class StageReport(BaseModel):
    """What a run did: one outcome for each update, in the order they came in.

    Attributes:
        outcomes: One for each update.
        flow_run_id: The flow run that did it, which is what an undo asks for.
        workspace: The workspace; None where nothing had to be written.
        dry_run: Whether the run only planned.
    """

    model_config = ConfigDict(frozen=True)

    outcomes: tuple[StageOutcome, ...]
    flow_run_id: UUID | None = None
    workspace: Workspace | None = None
    dry_run: bool = False

    @computed_field  # type: ignore[prop-decorator]  # as pydantic documents it
    @property
    def counts(self) -> dict[Outcome, int]:
        """How many updates ended in each outcome; they add up to the input."""
        found = Counter(outcome.outcome for outcome in self.outcomes)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def succeeded(self) -> bool:
        """Whether every update is in effect; in a dry run, whether every update could be."""
        return all(outcome.outcome in self._good for outcome in self.outcomes)

    @property
    def _good(self) -> set[Outcome]:
        return (
            {"updated", "unchanged", "not_attempted"} if self.dry_run else {"updated", "unchanged"}
        )

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
        """Return the counts that are not zero, such as "3 updated, 1 conflict"."""
        listed = [
            f"{count} {outcome.replace('_', ' ')}"
            for outcome, count in self.counts.items()
            if count
        ]
        return ", ".join(listed) or "no updates"

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
            if line.outcome not in self._good
        ]
        own = [
            f"{line.place or f'update {position}'}"
            f" ({line.stage_name or line.stage_id or 'no stage'}): {line.error}"
            for position, line in bad
            if line.outcome != "not_attempted"
        ]
        if not own:
            return "; ".join(dict.fromkeys(line.error or "not attempted" for _, line in bad))
        more = [f"and {len(own) - most} more"] if len(own) > most else []
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


class Ledger:
    """The outcomes of a run while it goes on: one line for each update, never none.

    Args:
        lines: What each update comes to should the run end now, in input order.
    """

    def __init__(self, lines: Iterable[StageOutcome]) -> None:
        self._lines = list(lines)
        self._open = set(range(len(self._lines)))
        self._positions = {line.stage_id: at for at, line in enumerate(self._lines)}

    def reject(self, errors: Mapping[int, str]) -> None:
        """Take down what is wrong with updates, by position."""
        for position, error in errors.items():
            line = self._lines[position]
            rejected = StageOutcome(
                outcome="rejected", stage_id=line.stage_id, stage_name=line.stage_name, error=error
            )
            self._take_down(position, rejected)

    def plan(self, changes: Iterable[StageChange]) -> None:
        """Take down what is to change, which is what the lines say should the run end now."""
        for change in changes:
            position = self._positions[change.stage_id]
            self._take_down(position, StageOutcome.of(change, "not_attempted"))
            self._open.add(position)

    def settle(self, outcomes: Iterable[StageOutcome]) -> None:
        """Take down what became of stages."""
        for outcome in outcomes:
            self._take_down(self._positions[outcome.stage_id], outcome)

    def close(self, why: str | None) -> tuple[StageOutcome, ...]:
        """Return all lines; those that are still open say why they were not attempted."""
        for position in self._open:
            self._lines[position] = self._lines[position].model_copy(update={"error": why})
        self._open.clear()
        return tuple(self._lines)

    def _take_down(self, position: int, outcome: StageOutcome) -> None:
        place = self._lines[position].place
        self._lines[position] = outcome.model_copy(update={"place": place}) if place else outcome
        self._open.discard(position)
