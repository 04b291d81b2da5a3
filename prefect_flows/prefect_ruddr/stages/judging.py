"""What a row asks for: which stage, which fields, and everything that is wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.field_errors import FieldError, field_errors
from prefect_ruddr.stages.names import StageAddress, StageName
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.stage import (
    CAMEL_CASE,
    READ_ONLY_NAMES,
    SNAKE_CASE,
    FieldName,
    FieldValue,
    Stage,
    parse_uuid,
)
from prefect_ruddr.stages.update import StageFields, StageUpdate, StageUpdateLike, was_read
from prefect_ruddr.texts import shown

ADDRESS_NAMES = ("id", "stage", "pipeline")
"""The names that say which stage a row is about."""

_PIPELINE = "opportunity_pipeline_id"


@dataclass(frozen=True)
class Wanted:
    """What a row asks for, as far as it can be told.

    Attributes:
        address: Which stage it is about; None where it does not say.
        fields: What to set; None where a value is wrong.
        doubts: Values that break a limit, in a row that was read from Ruddr: they are wrong
            unless the stage holds them.
        errors: What is wrong, one text for each error.
        stage_name: The name that was typed, if any.
    """

    address: StageAddress | None = None
    fields: StageFields | None = None
    doubts: tuple[FieldError, ...] = ()
    errors: tuple[str, ...] = ()
    stage_name: str | None = None

    def update(self, stage: Stage) -> StageUpdate:
        """Return the update of the stage that was found.

        Doubtful values are left out: the stage holds them.
        """
        # An update has to set something: where nothing is left, what the stage holds.
        fields = self.fields or StageFields(is_active=stage.is_active)
        return fields.of(stage.id)

    def doubts_about(self, stage: Stage) -> list[str]:
        """Return what is wrong with the values that the stage does not hold."""
        return [doubt.text for doubt in self.doubts if not _is_held(doubt, stage)]

    @property
    def row(self) -> StageUpdateLike:
        """The row again, with every name of a pipeline resolved."""
        if isinstance(self.address, UUID):
            if self.fields and not self.doubts:
                return self.fields.of(self.address)
            address: dict[str, Any] = {"id": self.address}
        else:
            address = {} if self.address is None else self.address.row
        doubts = {doubt.field: doubt.value for doubt in self.doubts}
        read_only = dict.fromkeys(READ_ONLY_NAMES if doubts else (), "as it was read")
        return dict[str, Any](**address, **self.said, **doubts, **read_only)

    @property
    def said(self) -> dict[FieldName, FieldValue]:
        """The fields to set in plain JSON types; none where a value is wrong."""
        return dict(self.fields.fields) if self.fields else {}


def judge(row: Any, pipelines: PipelineNames) -> Wanted:
    """Judge a row that says by id or by name which stage it is about.

    Args:
        row: An update, a stage, or a mapping with the names of either; instead of `id` the
            mapping may have `stage`, and `pipeline` with it.
        pipelines: What pipelines are called.
    """
    if isinstance(row, StageUpdate):
        return Wanted(row.id, row)
    if not isinstance(row, Mapping | Stage):
        return Wanted(errors=(f"{shown(row)} is no update: give a StageUpdate or a mapping",))
    said = dict(row)
    address, errors = _address(said, pipelines)
    set_to = {key: value for key, value in said.items() if key not in ADDRESS_NAMES}
    unknown = _resolve(set_to, pipelines)
    errors += unknown
    fields, found = _validated(set_to)
    doubts = tuple(error for error in found if error.is_limit and was_read(set_to))
    errors += [
        error.text
        for error in found
        if error not in doubts and not (unknown and error.field == _PIPELINE)
    ]
    if doubts and not errors:
        fields, _ = _validated(_without(set_to, {doubt.field for doubt in doubts}))
    typed = said.get("stage")
    return Wanted(
        address,
        None if errors else fields,
        doubts,
        tuple(errors),
        typed if isinstance(typed, str) else None,
    )


def _address(
    said: Mapping[Any, Any], pipelines: PipelineNames
) -> tuple[StageAddress | None, list[str]]:
    by_name = [name for name in ("stage", "pipeline") if name in said]
    if not by_name:
        if "id" not in said:
            return None, ["id: missing"]
        stage_id = parse_uuid(said["id"])
        return stage_id, [] if stage_id else [f"id = {shown(said['id'])}: not a UUID"]
    if "id" in said:
        which = " and ".join(by_name)
        return parse_uuid(said["id"]), [
            f"id and {which}: give the id alone, or the stage's name and pipeline"
        ]
    errors = []
    stage, pipeline = said.get("stage"), None
    if "stage" not in said:
        errors.append("stage: missing")
    elif not isinstance(stage, str):
        errors.append(f"stage = {shown(stage)}: Input should be a valid string")
    if said.get("pipeline") is not None:
        try:
            pipeline = pipelines.find(said["pipeline"])
        except InvalidStageUpdates as error:
            errors += [f"pipeline = {text}" for text in error.errors]
    if errors or not isinstance(stage, str):
        return None, errors
    return StageName(stage, pipeline), []


def _resolve(set_to: dict[Any, Any], pipelines: PipelineNames) -> list[str]:
    """Replace the name of the pipeline to move to by its id; say where there is none."""
    name = next((name for name in (_PIPELINE, CAMEL_CASE[_PIPELINE]) if name in set_to), None)
    if name is None or not isinstance(set_to[name], str):
        return []
    try:
        set_to[name] = pipelines.find(set_to[name])
    except InvalidStageUpdates as error:
        return [f"{_PIPELINE} = {text}" for text in error.errors]
    return []


def _validated(set_to: Mapping[Any, Any]) -> tuple[StageFields | None, list[FieldError]]:
    try:
        return StageFields.model_validate(set_to), []
    except ValidationError as error:
        return None, field_errors(error)


def _without(set_to: Mapping[Any, Any], names: Set[str]) -> dict[Any, Any]:
    return {key: value for key, value in set_to.items() if SNAKE_CASE.get(key, key) not in names}


def _is_held(doubt: FieldError, stage: Stage) -> bool:
    held = getattr(stage, doubt.field)
    return bool(held == (float(doubt.value) if doubt.field == "probability" else doubt.value))
