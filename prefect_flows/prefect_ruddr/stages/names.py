"""Finds stages by what they are called now: exactly one, or a violation. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from uuid import UUID

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.stages.update import StageUpdate, StageUpdateLike, stage_update, violations

UNKNOWN_ID = UUID(int=0)
"""The id of an update as long as only the stage's name is known."""

MOST_SUGGESTIONS = 20
"""For how many unknown names the closest ones are looked up; that is slow in a big workspace."""

MOST_PIPELINES = 5
"""How many pipelines are listed in which stages of one name are."""


class StageName(BaseModel):
    """A stage by its name, as `stage` and `pipeline` of a row give it.

    Attributes:
        stage: What the stage is called now: exactly, upper and lower case told apart.
        pipeline: The id of the pipeline it belongs to; None where the name is enough.
    """

    model_config = ConfigDict(frozen=True)

    stage: StrictStr
    pipeline: UUID | None = None


def addressed(row: StageUpdateLike) -> tuple[StageUpdate, StageName | None]:
    """Judge a row that says by id or by name which stage it is about.

    Args:
        row: An update, or a mapping with the same names; instead of `id` the mapping may have
            `stage`, and `pipeline` with it.

    Returns:
        The update, and the name to find its stage by; the update's id is `UNKNOWN_ID` then.

    Raises:
        InvalidStageUpdates: With every violation of the row.
    """
    if not isinstance(row, Mapping) or not {"stage", "pipeline"} & row.keys():
        return stage_update(row), None
    said = {key: value for key, value in row.items() if key in {"stage", "pipeline"}}
    fields = {key: value for key, value in row.items() if key not in said}
    found: list[str] = []
    name = update = None
    try:
        if "id" in fields:
            found.append(
                f"id and {' and '.join(said)}: give the id alone, or the stage's name and pipeline"
            )
        else:
            name = StageName.model_validate(said)
    except ValidationError as error:
        found += violations(error)
    try:
        update = stage_update({"id": UNKNOWN_ID, **fields})
    except InvalidStageUpdates as error:
        found += error.violations
    if found or update is None:
        raise InvalidStageUpdates(found)
    return update, name


class StageNames:
    """The stages of a workspace by what they are called.

    Args:
        stages: All of them.
    """

    def __init__(self, stages: Iterable[Stage]) -> None:
        self._called: dict[str, list[Stage]] = defaultdict(list)
        for stage in stages:
            self._called[stage.name].append(stage)
        self._suggestions: dict[StageName, str] = {}

    def find(self, wanted: StageName) -> Stage:
        """Return the one stage that is called so.

        Raises:
            InvalidStageUpdates: When there is none or more than one, or when Ruddr's answer
                left out the pipelines that would tell.
        """
        called = self._called.get(wanted.stage, [])
        found = [stage for stage in called if _may_be_in(stage, wanted.pipeline)]
        if len(found) == 1 and _is_in(found[0], wanted.pipeline):
            return found[0]
        if not found:
            where = f" in pipeline {wanted.pipeline}" if wanted.pipeline else ""
            problem = f"no stage{where} is called that{self._closest(wanted)}"
        elif wanted.pipeline and any(stage.opportunity_pipeline_id is None for stage in found):
            problem = "Ruddr does not say which pipeline it is in: give the id"
        else:
            problem = _told_apart(found)
        raise InvalidStageUpdates([f"stage = {wanted.stage!r}: {problem}"])

    def _closest(self, wanted: StageName) -> str:
        if wanted not in self._suggestions and len(self._suggestions) < MOST_SUGGESTIONS:
            names = [
                name
                for name, stages in self._called.items()
                if any(_may_be_in(stage, wanted.pipeline) for stage in stages)
            ]
            close = ", ".join(map(repr, get_close_matches(wanted.stage, names)))
            self._suggestions[wanted] = f"; the closest: {close}" if close else ""
        return self._suggestions.get(wanted, "")


def _is_in(stage: Stage, pipeline: UUID | None) -> bool:
    return pipeline is None or stage.opportunity_pipeline_id == pipeline


def _may_be_in(stage: Stage, pipeline: UUID | None) -> bool:
    return _is_in(stage, pipeline) or stage.opportunity_pipeline_id is None


def _told_apart(stages: list[Stage]) -> str:
    """Say where stages of one name are, and what would tell them apart."""
    pipelines = dict.fromkeys(stage.opportunity_pipeline_id for stage in stages)
    known = [str(pipeline) for pipeline in pipelines if pipeline is not None]
    more = ["…"] if len(known) > MOST_PIPELINES else []
    where = f", in pipelines {', '.join(known[:MOST_PIPELINES] + more)}" if len(known) > 1 else ""
    advice = "pipeline, or the id" if len(known) == len(stages) else "the id"
    return f"{len(stages)} stages are called that{where}: give {advice}"
