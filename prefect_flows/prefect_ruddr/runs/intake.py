"""Judges the rows somebody wants applied: every error of every row at once. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from prefect_ruddr.api.reading import LiveStages
from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.sources.rows import SourceRow
from prefect_ruddr.stages.drift import MissingStage
from prefect_ruddr.stages.judging import Wanted, judge
from prefect_ruddr.stages.names import StageName, StageNames
from prefect_ruddr.stages.order import WriteOrder, swap_errors, write_order
from prefect_ruddr.stages.outcome import StageOutcome
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.plan import StagePlan, plan_stage_updates
from prefect_ruddr.stages.stage import FieldName, Stage
from prefect_ruddr.stages.update import StageUpdate, StageUpdateLike
from prefect_ruddr.texts import listed

Row: TypeAlias = StageUpdateLike | SourceRow
"""What a run takes: an update, a stage, a mapping with the names of either, or a row that has
a place."""


@dataclass
class JudgedRow:
    """One row of a run, and what is known of it so far.

    Attributes:
        wanted: What it asks for.
        errors: What is wrong with it.
        place: Where it comes from, such as "stages.csv line 7", if it says.
        stage_id: The stage it is about; None as long as that is not known.
        update: The update; None where something is wrong, and until its stage is found.
        repeated: Which other rows are about the same stage; None where there is none.
        is_missing: Whether the workspace has no stage that it could be about.
    """

    wanted: Wanted
    errors: list[str]
    place: str | None = None
    stage_id: UUID | None = None
    update: StageUpdate | None = None
    repeated: str | None = None
    is_missing: bool = False

    @property
    def by_name(self) -> StageName | None:
        """The name that it gives in place of an id."""
        address = self.wanted.address
        return address if isinstance(address, StageName) else None

    @property
    def error(self) -> str | None:
        """Everything that is wrong with it, on one line."""
        return "; ".join([*self.errors, *filter(None, [self.repeated])]) or None

    @property
    def missing(self) -> MissingStage | None:
        """The stage that the workspace does not have, where nothing else is wrong with the row."""
        if not self.is_missing or self.repeated or len(self.errors) > 1:
            return None
        name = self.wanted.stage_name or self.wanted.said.get("name")
        return MissingStage(
            stage_id=self.stage_id,
            stage_name=None if name is None else str(name),
            place=self.place,
            why=self.errors[0],
        )

    @property
    def outcome(self) -> StageOutcome:
        """What it comes to should the run end now."""
        good = not self.error
        return StageOutcome(
            outcome="not_attempted" if good else "rejected",
            stage_id=self.stage_id,
            stage_name=self.wanted.stage_name,
            after=self.wanted.said if good else {},
            error=self.error,
            retryable=good,
            place=self.place,
        )


class Intake:
    """The rows of a run, judged.

    Args:
        rows: One for each that was given, in order.
        pipelines: What pipelines are called, for people to read.

    Attributes:
        pipelines: The same.
    """

    def __init__(self, rows: Iterable[JudgedRow], pipelines: PipelineNames) -> None:
        self.rows = list(rows)
        self.pipelines = pipelines
        self._note_repeated()

    @property
    def errors(self) -> dict[int, str]:
        """What is wrong, by the position of the row."""
        return {at: row.error for at, row in enumerate(self.rows) if row.error}

    @property
    def missing(self) -> tuple[MissingStage, ...]:
        """The stages that the workspace does not have, of rows that are good otherwise."""
        return tuple(filter(None, (row.missing for row in self.rows)))

    def told_errors(self, *, but_missing: bool) -> tuple[str, ...]:
        """Return all that is wrong with each row, each with its place.

        Args:
            but_missing: Whether to leave out the rows that are in `missing`.
        """
        return tuple(
            f"{row.place}: {text}" if row.place else text
            for row in self.rows
            if not (but_missing and row.missing)
            for text in (*row.errors, *filter(None, [row.repeated]))
        )

    @property
    def by_name(self) -> bool:
        """Whether any row gives its stage by name, so that all stages have to be read."""
        return any(row.by_name for row in self.rows)

    @property
    def stage_ids(self) -> list[UUID]:
        """The stages that the good rows are about, as far as they are known."""
        return [row.stage_id for row in self.rows if row.stage_id and not row.error]

    @property
    def updates(self) -> list[StageUpdate]:
        """The updates of the good rows; none before `compare`."""
        return [row.update for row in self.rows if row.update and not row.error]

    def refuse_other_fields(self, allowed: Sequence[FieldName] | None) -> None:
        """Find the rows that set a field which may not be set.

        Args:
            allowed: The fields that may be; None for all.
        """
        if allowed is None:
            return
        for row in self.rows:
            row.errors += [
                f"{name}: this run may set only {', '.join(allowed)} (only_fields)"
                for name in row.wanted.said
                if name not in allowed
            ]

    def compare(self, live: Mapping[UUID, Stage]) -> None:
        """Find the stage of each row, and what is wrong in the light of it.

        Args:
            live: The stages by id: all of the workspace where `by_name`, otherwise those of
                `stage_ids`.
        """
        names = StageNames(live.values(), self.pipelines)
        whole = self.by_name
        for row in self.rows:
            if row.by_name:
                self._find(row, row.by_name, names)
            stage = live.get(row.stage_id) if row.stage_id else None
            if stage is not None:
                row.errors += row.wanted.doubts_about(stage)
                row.update = None if row.errors else row.wanted.update(stage)
            elif row.stage_id and (whole or not row.error):
                row.is_missing = True
                row.errors.append(f"id = {row.stage_id}: the workspace has no such stage")
        self._note_repeated()

    def planned(self, live: LiveStages, *, swap_names: bool) -> tuple[StagePlan, WriteOrder]:
        """Plan what the good rows want, and find those that swap names although they may not.

        Args:
            live: The stages, those of `compare`.
            swap_names: Whether stages may swap their names.

        Returns:
            The plan, without the rows that were refused, and its changes as they can be written.
        """
        plan, order = self._planned(live)
        why = {} if swap_names else swap_errors(order)
        if not why:
            return plan, order
        for row in self.rows:
            if row.stage_id and row.stage_id in why:
                row.errors.append(why[row.stage_id])
        return self._planned(live)

    def _planned(self, live: LiveStages) -> tuple[StagePlan, WriteOrder]:
        plan = plan_stage_updates(self.updates, live.stages, None, self.pipelines, whole=live.whole)
        return plan, write_order(plan.changes, live.stages)

    def _find(self, row: JudgedRow, name: StageName, names: StageNames) -> None:
        try:
            row.stage_id = names.find(name).id
        except InvalidStageUpdates as error:
            row.is_missing = not names.are_of(name)
            row.errors += error.errors

    def _note_repeated(self) -> None:
        """Find the rows about a stage that more than one row is about."""
        about: dict[UUID, list[int]] = defaultdict(list)
        for position, row in enumerate(self.rows):
            if row.stage_id:
                about[row.stage_id].append(position)
        for stage_id, same in about.items():
            if len(same) > 1:
                repeated = f"id = {stage_id}: {self._listed(same)} are all about it"
                for position in same:
                    self.rows[position].repeated = repeated

    def _listed(self, positions: list[int]) -> str:
        places = [self.rows[position].place or str(position + 1) for position in positions]
        return ("" if self.rows[positions[0]].place else "updates ") + listed(places)


def intake(rows: Iterable[Row], pipelines: PipelineNames | None = None) -> Intake:
    """Judge rows against Ruddr's limits, and against each other.

    Two rows about the same stage are both refused, even where one of them is wrong in itself:
    nobody could say which of them counts.

    Args:
        rows: Updates, stages, mappings with the names of either, or rows with a place. A
            mapping may give the stage by name: `stage`, and `pipeline` with it, instead of `id`.
        pipelines: What pipelines are called, beside the names that the rows bring along.

    Raises:
        InvalidStageUpdates: When a name stands for two pipelines.
    """
    given = list(rows)
    names = pipelines or PipelineNames()
    brought = {id(row.pipelines): row.pipelines for row in given if isinstance(row, SourceRow)}
    for more in brought.values():
        names = names.also(more or PipelineNames())
    return Intake([_judged(row, names) for row in given], names)


def _judged(row: Row, pipelines: PipelineNames) -> JudgedRow:
    of_source = row if isinstance(row, SourceRow) else None
    wanted = judge(of_source.update if of_source else row, pipelines)
    errors = of_source.errors if of_source and of_source.errors else wanted.errors
    return JudgedRow(
        wanted,
        list(errors),
        place=of_source.place if of_source else None,
        stage_id=wanted.address if isinstance(wanted.address, UUID) else None,
    )
