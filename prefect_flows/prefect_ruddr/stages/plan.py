"""What would change, and how to undo it. Pure: no I/O, no Prefect.

`plan_stage_updates(updates, live)` gives a plan, `StageChange.compared_with(live)` tells whether a
change may still be written, and `StagePlan.inverted()` is the plan that undoes it.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from rich.text import Text

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.diff import Entry, FieldStep, Shown, diff
from prefect_ruddr.stages.kept import is_seen_to_hold, missed, seen
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.stage import FIELD_NAMES, FieldName, FieldValue, Stage, Workspace
from prefect_ruddr.stages.update import StageUpdate, parse_stage_update

Comparison: TypeAlias = Literal["still valid", "already applied", "conflict"]
"""What a live stage says of a change: it holds *before*, it holds *after*, or something else."""

RISKY_PROBABILITY_CHANGE = 0.2
"""By how much a win probability may move before that is risky, where nobody says otherwise."""


SHORT = 8
"""How many characters of a pipeline's id a person is shown where they tell it from the others."""


class FieldChange(BaseModel):
    """One field of one stage: what it holds now, and what it shall hold.

    Attributes:
        field: Which field.
        before: The live value at planning. None for an absent description, and for a pipeline
            that Ruddr's answer left out.
        after: The value to be set.
    """

    model_config = ConfigDict(frozen=True)

    field: FieldName
    before: FieldValue
    after: FieldValue

    def inverted(self) -> FieldChange:
        """Return the change that undoes this one."""
        return FieldChange(field=self.field, before=self.after, after=self.before)


class StageChange(BaseModel):
    """One stage, and the fields of it that really differ.

    Attributes:
        stage_id: The id of the stage.
        stage_name: What the stage is called as long as nothing is written.
        pipeline: What tells the stage apart from others of its name: its pipeline's alias or
            id, or the stage's own id; None where the name is enough.
        fields: The fields that differ, at least one.
    """

    model_config = ConfigDict(frozen=True)

    stage_id: UUID
    stage_name: str
    pipeline: str | None = None
    fields: tuple[FieldChange, ...] = Field(min_length=1)

    @property
    def label(self) -> str:
        """What a person knows the stage by: "Negotiation", or "Negotiation (New Business)"."""
        return labelled(self.stage_name, self.pipeline)

    @property
    def steps(self) -> tuple[FieldStep, ...]:
        """The fields that differ, each with the value before and the value after."""
        return tuple((change.field, change.before, change.after) for change in self.fields)

    @property
    def before(self) -> dict[FieldName, FieldValue]:
        """The live values at planning."""
        return {change.field: change.before for change in self.fields}

    @property
    def after(self) -> dict[FieldName, FieldValue]:
        """The values to be set."""
        return {change.field: change.after for change in self.fields}

    def unwritable(self) -> str | None:
        """Say why the values cannot be sent, or return None where they can.

        What a stage held before may be beyond what Ruddr's API takes, and then an undo cannot
        restore it.
        """
        if self.after.get("opportunity_pipeline_id", "known") is None:
            return "its earlier pipeline is not known: Ruddr had left it out"
        update: dict[str, Any] = {"id": self.stage_id} | dict[str, Any](**self.after)
        try:
            parse_stage_update(update)
        except InvalidStageUpdates as error:
            return "; ".join(error.errors)
        return None

    def update(self) -> StageUpdate:
        """Return the update that writes this change: the differing fields and no other.

        Raises:
            pydantic.ValidationError: When a value cannot be written, such as a pipeline that
                was never known.
        """
        return StageUpdate.model_validate({"id": self.stage_id, **self.after})

    def compared_with(self, live: Stage) -> Comparison:
        """Compare with what is live now.

        Returns:
            "already applied" when the stage holds every value to be set, "still valid" when
            it holds what the plan saw, and "conflict" when somebody has changed it since. A
            pipeline that an answer leaves out speaks neither for nor against.
        """
        if is_seen_to_hold(self.after, live):
            return "already applied"
        as_planned = all(
            live.value(change.field) == change.before or _was_unknown(change)
            for change in self.fields
            if change.field in seen(self.after, live)
        )
        return "still valid" if as_planned or not missed(self.after, live) else "conflict"

    def overtaken_by(self, live: Stage) -> str:
        """Say, for a conflict, what the stage holds now."""
        held = ", ".join(f"{field} is {live.value(field)!r}" for field in self.after)
        return f"{self.label} was changed since it was planned, not written: {held} now"

    def inverted(self) -> StageChange:
        """Return the change that undoes this one."""
        name = self.after.get("name", self.stage_name)
        return StageChange(
            stage_id=self.stage_id,
            stage_name=str(name),
            pipeline=self.pipeline,
            fields=tuple(change.inverted() for change in self.fields),
        )

    def risks(self, probability_change: float = RISKY_PROBABILITY_CHANGE) -> list[str]:
        """Say what is risky here: a change of status, pipeline or activity, a big step.

        Args:
            probability_change: By how much, from 0 to 1, the win probability may move
                without being risky.
        """
        risks = []
        for change in self.fields:
            if change.field in {"status_id", "opportunity_pipeline_id", "is_active"}:
                risks.append(f"{change.field} changes")
            elif change.field == "probability":
                step = round(abs(float(change.after or 0) - float(change.before or 0)), 4)
                if step > probability_change:
                    risks.append(f"probability moves by {step:g}, more than {probability_change:g}")
        return risks


class StagePlan(Shown, BaseModel):
    """All changes that updates mean for a live workspace, and what needed none.

    Attributes:
        workspace: The workspace that was read; None where nothing changes, as then nothing
            else had to be known of it.
        changes: The changes, in the order of the updates.
        unchanged: The stages that already hold what was wanted.
        created_at: When the live stages were read (UTC).
    """

    model_config = ConfigDict(frozen=True)

    workspace: Workspace | None
    changes: tuple[StageChange, ...]
    unchanged: tuple[UUID, ...] = ()
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def diff(self, most: int | None = None) -> Text:
        """Return the plan as a text for people: `print` and `rich.print` show it too.

        Args:
            most: How many stages to show; None for all.
        """
        where = f" in {self.workspace.name}" if self.workspace else ""
        title = (
            f"Plan {self.digest}: {len(self.changes)} would change,"
            f" {len(self.unchanged)} unchanged{where}"
        )
        shown = self.changes if most is None else self.changes[:most]
        entries = (Entry(change.label, change.steps, "would change", "cyan") for change in shown)
        return diff(title, entries, len(self.changes) - len(shown))

    def too_many(self, most_changes: int | None) -> str | None:
        """Say so where more stages would change than may.

        Args:
            most_changes: How many may; None for any number.
        """
        if most_changes is None or len(self.changes) <= most_changes:
            return None
        return f"{len(self.changes)} stages would change, and most_changes is {most_changes}"

    def cannot_be_undone(self) -> list[str]:
        """Say, for each stage that an undo could not restore, why."""
        return [
            f"{change.label}: an undo could not restore it: {why}"
            for change in self.changes
            if (why := change.inverted().unwritable())
        ]

    @property
    def digest(self) -> str:
        """Twelve characters that are the same for the same changes of the same workspace."""
        canonical = [
            str(self.workspace.id) if self.workspace else None,
            [
                [str(change.stage_id), [field.model_dump() for field in change.fields]]
                for change in self.changes
            ],
        ]
        text = json.dumps(canonical, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def inverted(self) -> StagePlan:
        """Return the plan that undoes this one, in the opposite order."""
        return StagePlan(
            workspace=self.workspace,
            changes=tuple(change.inverted() for change in reversed(self.changes)),
        )


def plan_stage_updates(
    updates: Iterable[StageUpdate],
    live: Mapping[UUID, Stage],
    workspace: Workspace | None,
    pipelines: PipelineNames | None = None,
    *,
    whole: bool = True,
) -> StagePlan:
    """Find what really differs between the updates and the live stages.

    Args:
        updates: What somebody wants; at most one for a stage.
        live: The live stage of every update, by id; others beside them tell which names
            more than one stage has.
        workspace: The workspace that the stages were read from.
        pipelines: What people call the pipelines.
        whole: Whether these are known to be all stages of the workspace. Of others, it is not
            known which names more than one stage has, so each is shown with its pipeline.

    Returns:
        A change for each update that differs, and the ids of the stages that need none.

    Raises:
        KeyError: When the live stage of an update is missing.

    Examples:
        >>> from prefect_ruddr.stages.stage import Stage
        >>> stage = Stage(
        ...     id=UUID("a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"), name="Negotiation",
        ...     description=None, probability=0.75, status_id="open", is_active=True,
        ...     created_at=datetime(2025, 2, 10, tzinfo=UTC),
        ... )
        >>> wanted = StageUpdate(id=stage.id, probability=0.8, name="Negotiation")
        >>> plan = plan_stage_updates([wanted], {stage.id: stage}, None)
        >>> plan.changes[0].fields
        (FieldChange(field='probability', before=0.75, after=0.8),)
        >>> plan.inverted().changes[0].update()
        StageUpdate(id='a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19', probability=0.75)
    """
    changes: list[StageChange] = []
    unchanged: list[UUID] = []
    apart = told_apart(live.values(), pipelines or PipelineNames(), whole=whole)
    for update in updates:
        stage = live[update.id]
        fields = tuple(
            FieldChange(field=field, before=stage.value(field), after=after)
            for field, after in update.fields.items()
            if stage.value(field) != after
        )
        if fields:
            changes.append(
                StageChange(
                    stage_id=stage.id,
                    stage_name=stage.name,
                    pipeline=apart.get(stage.id),
                    fields=fields,
                )
            )
        else:
            unchanged.append(stage.id)
    return StagePlan(workspace=workspace, changes=tuple(changes), unchanged=tuple(unchanged))


def merged(plans: Iterable[StagePlan]) -> StagePlan:
    """Join plans that were applied one after the other into one with the same effect.

    A run that is tried again plans again. What it did in all goes from the first value before
    to the last one after, unless somebody edited the field in between: then the last change
    counts, as undoing more would undo that edit too.

    Args:
        plans: At least one, the oldest first, all of one workspace.
    """
    listed = list(plans)
    stages: dict[UUID, StageChange] = {}
    for plan in listed:
        for change in plan.changes:
            first = stages.get(change.stage_id, change)
            fields = {field.field: field for field in first.fields}
            for field in change.fields:
                earlier = fields.get(field.field, field)
                before = earlier.before if earlier.after == field.before else field.before
                fields[field.field] = field.model_copy(update={"before": before})
            stages[change.stage_id] = first.model_copy(update={"fields": tuple(fields.values())})
    kept = [
        change.model_copy(update={"fields": in_effect})
        for change in stages.values()
        if (in_effect := _in_effect(change.fields))
    ]
    return StagePlan(
        # A plan without changes does not know its workspace.
        workspace=next((plan.workspace for plan in listed if plan.workspace), None),
        changes=tuple(kept),
        created_at=listed[0].created_at,
    )


def labelled(stage_name: str, pipeline: str | None) -> str:
    """Return what a person knows a stage by: "Negotiation", or "Negotiation (New Business)"."""
    return f"{stage_name} ({pipeline})" if pipeline else stage_name


def told_apart(
    stages: Iterable[Stage], pipelines: PipelineNames, *, whole: bool
) -> dict[UUID, str]:
    """Return the pipeline of each stage that others may share a name with, or whose has a name.

    Args:
        stages: Stages of a workspace.
        pipelines: What people call the pipelines.
        whole: Whether these are all of its stages.
    """
    listed = list(stages)
    called = {
        pipeline: pipelines.name_of(pipeline)
        if pipeline in pipelines.ids.values()
        else f"pipeline {short}"
        for pipeline, short in _shortened({stage.opportunity_pipeline_id for stage in listed})
    }
    same: dict[str, list[Stage]] = defaultdict(list)
    for stage in listed:
        same[stage.name].append(stage)
    told: dict[UUID, str] = {}
    for named in same.values():
        known = Counter(stage.opportunity_pipeline_id for stage in named)
        is_alone = whole and len(named) == 1
        for stage in named:
            pipeline = stage.opportunity_pipeline_id
            if pipeline and known[pipeline] == 1:
                if not is_alone or pipeline in pipelines.ids.values():
                    told[stage.id] = called[pipeline]
            elif not is_alone:
                told[stage.id] = f"id {stage.id}"
    return told


def _shortened(ids: Iterable[UUID | None]) -> Iterator[tuple[UUID, str]]:
    """Yield each id with its first characters, or with all where those are not its alone."""
    known = [each for each in ids if each is not None]
    shared = Counter(str(each)[:SHORT] for each in known)
    for each in known:
        short = str(each)[:SHORT]
        yield each, short if shared[short] == 1 else str(each)


def _in_effect(fields: Iterable[FieldChange]) -> tuple[FieldChange, ...]:
    ordered = sorted(fields, key=lambda change: FIELD_NAMES.index(change.field))
    return tuple(change for change in ordered if change.before != change.after)


def _was_unknown(change: FieldChange) -> bool:
    return change.field == "opportunity_pipeline_id" and change.before is None
