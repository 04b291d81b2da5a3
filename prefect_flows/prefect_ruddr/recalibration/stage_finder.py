"""Finds the stage that a row of history is about, by its id or by its name. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.stages.names import StageName, StageNames
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.texts import shown


class StageFinder:
    """Finds the stage of a row by its id or by its name."""

    def __init__(self, stages: tuple[Stage, ...], options: RecalibrationOptions) -> None:
        self.stages = {stage.id: stage for stage in stages}
        self._options = options
        self._by_name = StageNames(stages)
        self._found: dict[tuple[str, ...], Stage | str | None] = {}

    def find(self, cells: Mapping[str, Any]) -> Stage | str | None:
        """Return the stage, what is wrong, or None for one to be ignored."""
        given = {name: cells[name] for name in ("stage_id", "stage", "pipeline") if name in cells}
        key = tuple(map(str, given.values())) + tuple(given)
        if key not in self._found:
            try:
                self._found[key] = self._look_up(given)
            except InvalidStageUpdates as error:
                self._found[key] = "; ".join(error.errors)
        return self._found[key]

    def _look_up(self, given: Mapping[str, Any]) -> Stage | str | None:
        if "stage_id" in given and len(given) > 1:
            return "stage_id and stage or pipeline: give the id alone, or stage and pipeline"
        if "stage_id" in given:
            return self._by_id(given["stage_id"])
        if "stage" not in given:
            return "no stage: stage_id and stage are blank"
        name = str(given["stage"])
        pipeline = None
        if "pipeline" in given:
            said = str(given["pipeline"]).strip()
            pipeline = self._options.pipelines.get(said) or _uuid(said)
            if pipeline is None:
                return f"pipeline = {shown(said)}: not a UUID, nor a name in pipelines"
        wanted = StageName(stage=self._options.renamed.get(name, name), pipeline=pipeline)
        try:
            return self._by_name.find(wanted)
        except InvalidStageUpdates as error:
            if any(
                stage.name == wanted.stage and pipeline in {None, stage.opportunity_pipeline_id}
                for stage in self.stages.values()
            ):
                raise
            return self._unknown(f"{'; '.join(error.errors)} (renamed may name it)")

    def _by_id(self, given: Any) -> Stage | str | None:
        stage_id = _uuid(given)
        if stage_id is None:
            return f"stage_id = {shown(given)}: not a UUID"
        stage = self.stages.get(stage_id)
        return stage or self._unknown(f"stage_id = {stage_id}: no stage has that id")

    def _unknown(self, error: str) -> str | None:
        return error if self._options.unknown_stages == "refuse" else None


def _uuid(value: Any) -> UUID | None:
    try:
        return value if isinstance(value, UUID) else UUID(str(value).strip())
    except ValueError:
        return None
