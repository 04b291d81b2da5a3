"""Finds stages by what they are called now: exactly one, or an error. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias
from uuid import UUID

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.texts import listed, shown

MOST_SUGGESTIONS = 20
"""For how many unknown names the closest ones are looked up; that is slow in a big workspace."""


@dataclass(frozen=True)
class StageName:
    """A stage by its name, as `stage` and `pipeline` of a row give it.

    Attributes:
        stage: What the stage is called now: exactly, upper and lower case told apart.
        pipeline: The id of the pipeline it belongs to; None where the name is enough.
    """

    stage: str
    pipeline: UUID | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The name as a row gives it."""
        return {"stage": self.stage} | ({"pipeline": self.pipeline} if self.pipeline else {})


StageAddress: TypeAlias = UUID | StageName
"""Which stage a row is about: its id, or what it is called."""


class StageNames:
    """The stages of a workspace by what they are called.

    Args:
        stages: All of them.
        pipelines: What the pipelines are called, for errors to say.
    """

    def __init__(self, stages: Iterable[Stage], pipelines: PipelineNames | None = None) -> None:
        self._called: dict[str, list[Stage]] = defaultdict(list)
        for stage in stages:
            self._called[stage.name].append(stage)
        self._pipelines = pipelines or PipelineNames()
        self._suggestions: dict[StageName, str] = {}

    def are_of(self, wanted: StageName) -> bool:
        """Tell whether any stage may be the one that is meant."""
        called = self._called.get(wanted.stage, [])
        return any(_may_be_in(stage, wanted.pipeline) for stage in called)

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
            where = (
                f" in pipeline {self._pipelines.name_of(wanted.pipeline)}"
                if wanted.pipeline
                else ""
            )
            problem = f"no stage{where} is called that{self._closest(wanted)}"
        elif wanted.pipeline and any(stage.opportunity_pipeline_id is None for stage in found):
            problem = "Ruddr does not say which pipeline it is in: give the id"
        else:
            problem = self._told_apart(found)
        raise InvalidStageUpdates([f"stage = {shown(wanted.stage)}: {problem}"])

    def _closest(self, wanted: StageName) -> str:
        if wanted not in self._suggestions and len(self._suggestions) < MOST_SUGGESTIONS:
            names = [
                name
                for name, stages in self._called.items()
                if any(_may_be_in(stage, wanted.pipeline) for stage in stages)
            ]
            close = ", ".join(map(shown, get_close_matches(wanted.stage, names)))
            self._suggestions[wanted] = f"; the closest: {close}" if close else ""
        return self._suggestions.get(wanted, "")

    def _told_apart(self, stages: list[Stage]) -> str:
        """Say where stages of one name are, and what would tell them apart."""
        pipelines = dict.fromkeys(stage.opportunity_pipeline_id for stage in stages)
        known = [self._pipelines.name_of(pipeline) for pipeline in pipelines if pipeline]
        where = f", in pipelines {listed(known)}" if len(known) > 1 else ""
        advice = "pipeline, or the id" if len(known) == len(stages) else "the id"
        return f"{len(stages)} stages are called that{where}: give {advice}"


def _is_in(stage: Stage, pipeline: UUID | None) -> bool:
    return pipeline is None or stage.opportunity_pipeline_id == pipeline


def _may_be_in(stage: Stage, pipeline: UUID | None) -> bool:
    return _is_in(stage, pipeline) or stage.opportunity_pipeline_id is None
