"""What rows would change: a plan outside a run. Knows no Prefect and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect_ruddr.api.reading import read_all_stages, read_live_stages
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.runs.intake import intake
from prefect_ruddr.sources.rows import SourceRow
from prefect_ruddr.stages.drift import MissingStage
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.plan import StagePlan
from prefect_ruddr.stages.stage import FieldName, Stage


@dataclass(frozen=True)
class Preview:
    """What rows come to in the light of the live stages.

    Attributes:
        plan: The changes of the rows that are good.
        errors: What is wrong with the others, each with the place of the row.
        refusal: Why a run would not write the plan as a whole; None where it might.
        missing: The stages that the workspace does not have, where that is no error.
        live: The stages that were read, by id.
        pipelines: What pipelines are called.
    """

    plan: StagePlan
    errors: tuple[str, ...]
    refusal: str | None
    missing: tuple[MissingStage, ...]
    live: Mapping[UUID, Stage]
    pipelines: PipelineNames


def preview(
    rows: Sequence[SourceRow],
    api: RuddrApi,
    pipelines: PipelineNames,
    *,
    swap_names: bool = False,
    only_fields: Sequence[FieldName] | None = None,
    most_changes: int | None = None,
    may_be_missing: bool = False,
) -> Preview:
    """Compare rows with what is live, and find every error of every row.

    Args:
        rows: The rows of a source.
        api: The workspace.
        pipelines: What pipelines are called.
        swap_names: Whether stages may swap their names.
        only_fields: The fields that may be set; None for all.
        most_changes: How many stages may change; None for any number.
        may_be_missing: Whether a stage that is not there is no error.

    Raises:
        RuddrRequestError: When the stages cannot be read.
    """
    judged = intake(rows, pipelines)
    judged.refuse_other_fields(only_fields)
    found = read_all_stages(api) if judged.by_name else read_live_stages(api, judged.stage_ids)
    judged.compare(found.stages)
    plan, _ = judged.planned(found, swap_names=swap_names)
    if plan.changes:
        # Known only for a run that changes something, so that both have the same digest.
        plan = plan.model_copy(update={"workspace": api.workspace()})
    missing = judged.missing if may_be_missing else ()
    errors = judged.told_errors(but_missing=may_be_missing)
    refusal = plan.too_many(most_changes)
    return Preview(plan, errors, refusal, missing, found.stages, judged.pipelines)


def preview_json(found: Preview) -> dict[str, Any]:
    """Return a preview in plain JSON types."""
    return {
        "changes": [
            {
                "stage_id": str(change.stage_id),
                "stage": change.stage_name,
                "pipeline": _pipeline(found.live[change.stage_id], found.pipelines),
                "fields": [field.model_dump() for field in change.fields],
            }
            for change in found.plan.changes
        ],
        "missing": [
            {"stage_id": each.stage_id and str(each.stage_id), "stage": each.stage_name}
            | {"place": each.place, "why": each.why}
            for each in found.missing
        ],
        "unchanged": len(found.plan.unchanged),
        "errors": [*found.errors, *filter(None, [found.refusal])],
    }


def _pipeline(stage: Stage, pipelines: PipelineNames) -> str | None:
    pipeline = stage.opportunity_pipeline_id
    return None if pipeline is None else pipelines.name_of(pipeline)
