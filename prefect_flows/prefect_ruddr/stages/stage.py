"""A stage as Ruddr holds it. Pure: no I/O, no Prefect."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Strict, StrictBool, StrictStr
from pydantic.alias_generators import to_camel

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.texts import shown

StageStatus: TypeAlias = Literal["open", "won", "lost"]
"""Whether opportunities at a stage are still open, or closed as won or as lost."""

FieldName: TypeAlias = Literal[
    "name", "description", "probability", "status_id", "is_active", "opportunity_pipeline_id"
]
"""The fields of a stage that can be set."""

FieldValue: TypeAlias = bool | float | str | None
"""The value of a field in plain JSON types; an id is its text."""

FIELD_NAMES: tuple[FieldName, ...] = get_args(FieldName)

_HYPHENATED = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_UUID = re.compile(rf"[0-9a-f]{{32}}|{_HYPHENATED}|\{{{_HYPHENATED}\}}", re.IGNORECASE)


class Workspace(BaseModel):
    """The workspace behind an API key.

    Attributes:
        id: The id of the workspace.
        name: What the workspace calls itself.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: StrictStr


class Stage(BaseModel):
    """An opportunity stage as Ruddr holds it now.

    Attributes:
        id: The id of the stage.
        name: What salespeople see.
        description: A note on when an opportunity belongs here, or None.
        probability: The win probability of opportunities at this stage, from 0 to 1.
        status_id: Whether its opportunities are open, won or lost.
        is_active: Whether the stage can be chosen.
        opportunity_pipeline_id: The pipeline it belongs to; None where Ruddr's answer
            left it out, which some documented answers do.
        created_at: When it was created (UTC).
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    name: StrictStr
    description: StrictStr | None
    probability: Annotated[float, Strict(), Field(allow_inf_nan=False)]
    status_id: StageStatus
    is_active: StrictBool
    opportunity_pipeline_id: UUID | None = None
    created_at: datetime

    def value(self, field: FieldName) -> FieldValue:
        """Return a field's value in plain JSON types; a blank description is None."""
        return plain_value(field, getattr(self, field))


READ_ONLY_NAMES = tuple(
    name for name in Stage.model_fields if name != "id" and name not in FIELD_NAMES
)
"""What a stage has that nobody can set."""

CAMEL_CASE = {name: to_camel(name) for name in (*FIELD_NAMES, *READ_ONLY_NAMES)}
"""What Ruddr calls the fields."""

SNAKE_CASE = {camel: name for name, camel in CAMEL_CASE.items() if camel != name}
"""What we call the fields that Ruddr calls otherwise."""


def parse_stage_id(value: UUID | str) -> UUID:
    """Return the id of a stage, made from its text where that is given.

    Raises:
        InvalidStageUpdates: When the text is no UUID.
    """
    stage_id = parse_uuid(value)
    if stage_id is None:
        raise InvalidStageUpdates([f"stage id = {shown(value)}: not a UUID"])
    return stage_id


def parse_uuid(value: Any) -> UUID | None:
    """Return a UUID, made from its text where that is given; None for anything else."""
    if isinstance(value, UUID):
        return value
    # UUID() itself takes line breaks, underscores and braces anywhere.
    return UUID(value) if isinstance(value, str) and _UUID.fullmatch(value) else None


def plain_value(field: FieldName, value: Any) -> FieldValue:
    """Return a field's value in plain JSON types; a blank description is None, as in Ruddr."""
    if isinstance(value, UUID):
        return str(value)
    if field == "description" and isinstance(value, str) and not value.strip():
        return None
    plain: FieldValue = value
    return plain
