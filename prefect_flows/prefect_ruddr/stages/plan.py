"""What would change, and how to take it back. Pure: no I/O, no Prefect.

`plan_stage_updates(updates, live)` gives a plan, `StageChange.standing(live)` tells whether a
change may still be written, and `StagePlan.inverted()` is the plan that takes it back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from prefect_ruddr.stages.stage import FIELD_NAMES, FieldName, FieldValue, Stage, Workspace
from prefect_ruddr.stages.update import StageUpdate

Standing: TypeAlias = Literal["due", "unchanged", "conflict"]
"""Where a change stands against a live stage: to be written, already there, or overtaken."""

RISKY_PROBABILITY_CHANGE = 0.2
"""By how much a win probability may move before that is risky, where nobody says otherwise."""


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
        """Return the change that takes this one back."""
        return FieldChange(field=self.field, before=self.after, after=self.before)


class StageChange(BaseModel):
    """One stage, and the fields of it that really differ.

    Attributes:
        stage_id: The id of the stage.
        stage_name: What the stage is called as long as nothing is written.
        fields: The fields that differ, at least one.
    """

    model_config = ConfigDict(frozen=True)

    stage_id: UUID
    stage_name: str
    fields: tuple[FieldChange, ...] = Field(min_length=1)

    @property
    def before(self) -> dict[FieldName, FieldValue]:
        """The live values at planning."""
        return {change.field: change.before for change in self.fields}

    @property
    def after(self) -> dict[FieldName, FieldValue]:
        """The values to be set."""
        return {change.field: change.after for change in self.fields}

    @property
    def is_writable(self) -> bool:
        """Whether every value can be sent: a pipeline that was never known cannot."""
        return self.after.get("opportunity_pipeline_id", "known") is not None

    def update(self) -> StageUpdate:
        """Return the update that writes this change: the differing fields and no other.

        Raises:
            pydantic.ValidationError: When a value cannot be written, such as a pipeline that
                was never known.
        """
        return StageUpdate.model_validate({"id": self.stage_id, **self.after})

    def standing(self, live: Stage) -> Standing:
        """Compare with what is live now.

        Returns:
            "unchanged" when the stage already holds every value, "due" when it still holds
            what the plan saw, and "conflict" when somebody has changed it since. A pipeline
            that an answer leaves out speaks neither for nor against.
        """
        seen = self.seen_in(live)
        if self.missed_by(live):
            as_planned = all(
                live.value(change.field) == change.before or _was_unknown(change) for change in seen
            )
            return "due" if as_planned else "conflict"
        return "unchanged" if len(seen) == len(self.fields) else "due"

    def seen_in(self, live: Stage) -> tuple[FieldChange, ...]:
        """Return the fields that an answer tells about: it may leave the pipeline out."""
        return tuple(
            change
            for change in self.fields
            if change.field != "opportunity_pipeline_id" or live.value(change.field) is not None
        )

    def overtaken_by(self, live: Stage) -> str:
        """Say, for a conflict, what the stage holds now."""
        held = ", ".join(f"{field} is {live.value(field)!r}" for field in self.after)
        return f"{self.stage_name} was changed since it was planned, not written: {held} now"

    def missed_by(self, live: Stage) -> list[FieldName]:
        """Return the fields in which a stage is seen not to hold what was to be set."""
        return [
            change.field
            for change in self.seen_in(live)
            if live.value(change.field) != change.after
        ]

    def inverted(self) -> StageChange:
        """Return the change that takes this one back."""
        name = self.after.get("name", self.stage_name)
        return StageChange(
            stage_id=self.stage_id,
            stage_name=str(name),
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


class StagePlan(BaseModel):
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
        """Return the plan that takes this one back, in the opposite order."""
        return StagePlan(
            workspace=self.workspace,
            changes=tuple(change.inverted() for change in reversed(self.changes)),
        )


def plan_stage_updates(
    updates: Iterable[StageUpdate],
    live: Mapping[UUID, Stage],
    workspace: Workspace | None,
) -> StagePlan:
    """Find what really differs between the updates and the live stages.

    Args:
        updates: What somebody wants; at most one for a stage.
        live: The live stage of every update, by id.
        workspace: The workspace that the stages were read from.

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
    for update in updates:
        stage = live[update.id]
        fields = tuple(
            FieldChange(field=field, before=stage.value(field), after=after)
            for field, after in update.fields.items()
            if stage.value(field) != after
        )
        if fields:
            changes.append(StageChange(stage_id=stage.id, stage_name=stage.name, fields=fields))
        else:
            unchanged.append(stage.id)
    return StagePlan(workspace=workspace, changes=tuple(changes), unchanged=tuple(unchanged))


def merged(plans: Iterable[StagePlan]) -> StagePlan:
    """Join plans that were applied one after the other into one with the same effect.

    A run that is tried again plans again; what it did in all goes from the first value before
    to the last one after.

    Args:
        plans: At least one, the oldest first, all of one workspace.
    """
    listed = list(plans)
    stages: dict[UUID, dict[FieldName, FieldChange]] = {}
    names: dict[UUID, str] = {}
    for plan in listed:
        for change in plan.changes:
            names.setdefault(change.stage_id, change.stage_name)
            fields = stages.setdefault(change.stage_id, {})
            for field in change.fields:
                earlier = fields.get(field.field, field)
                fields[field.field] = earlier.model_copy(update={"after": field.after})
    return StagePlan(
        # A plan without changes does not know its workspace.
        workspace=next((plan.workspace for plan in listed if plan.workspace), None),
        changes=tuple(
            StageChange(
                stage_id=stage_id,
                stage_name=names[stage_id],
                fields=kept,
            )
            for stage_id, fields in stages.items()
            if (kept := _in_effect(fields))
        ),
        created_at=listed[0].created_at,
    )


def _in_effect(fields: Mapping[FieldName, FieldChange]) -> tuple[FieldChange, ...]:
    ordered = (fields[name] for name in FIELD_NAMES if name in fields)
    return tuple(change for change in ordered if change.before != change.after)


def _was_unknown(change: FieldChange) -> bool:
    return change.field == "opportunity_pipeline_id" and change.before is None
