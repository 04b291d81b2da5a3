"""What rows would change: a plan outside a run. Knows no Prefect and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from rich.text import Text

from prefect_ruddr.api.reading import read_all_stages, read_live_stages
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.runs.intake import JudgedRow, intake
from prefect_ruddr.sources.rows import SourceRow
from prefect_ruddr.stages.diff import Entry, diff
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.plan import StagePlan, plan_stage_updates
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.texts import count


@dataclass(frozen=True)
class Preview:
    """What rows come to in the light of the live stages.

    Attributes:
        plan: The changes of the rows that are good.
        errors: What is wrong with the others, each with the place of the row.
        live: The stages that were read, by id.
    """

    plan: StagePlan
    errors: tuple[str, ...]
    live: Mapping[UUID, Stage]


def preview(
    rows: Sequence[SourceRow],
    api: RuddrApi,
    pipelines: PipelineNames,
    *,
    swap_names: bool = False,
) -> Preview:
    """Compare rows with what is live, and find every error of every row.

    Args:
        rows: The rows of a source.
        api: The workspace.
        pipelines: What pipelines are called.
        swap_names: Whether stages may swap their names.

    Raises:
        RuddrRequestError: When the stages cannot be read.
    """
    judged = intake(rows, pipelines)
    found = read_all_stages(api) if judged.by_name else read_live_stages(api, judged.stage_ids)
    judged.compare(found.stages)
    if not swap_names:
        judged.refuse_swaps(found.stages)
    plan = plan_stage_updates(judged.updates, found.stages, None, pipelines)
    if plan.changes:
        # Known only for a run that changes something, so that both have the same digest.
        plan = plan.model_copy(update={"workspace": api.workspace()})
    errors = tuple(text for row in judged.rows for text in _errors(row))
    return Preview(plan, errors, found.stages)


def drift_diff(found: Preview, source: str) -> Text:
    """Return in what the live stages differ from a file, as a text for people.

    Args:
        found: The preview of the file.
        source: What the file is called.
    """
    changes = found.plan.changes
    where = f" in {found.plan.workspace.name}" if found.plan.workspace else ""
    title = (
        f"Drift from {source}{where}: {len(changes)} differ, {len(found.plan.unchanged)} do not"
        if changes
        else f"No drift from {source}: {count(len(found.plan.unchanged), 'stage')} compared"
    )
    entries = (
        Entry(change.label, change.inverted().steps, "differs", "yellow") for change in changes
    )
    return diff(title, entries)


def preview_json(found: Preview, pipelines: PipelineNames) -> dict[str, Any]:
    """Return a preview in plain JSON types.

    Args:
        found: The preview.
        pipelines: What pipelines are called.
    """
    return {
        "changes": [
            {
                "stage_id": str(change.stage_id),
                "stage": change.stage_name,
                "pipeline": _pipeline(found.live[change.stage_id], pipelines),
                "fields": [field.model_dump() for field in change.fields],
            }
            for change in found.plan.changes
        ],
        "unchanged": len(found.plan.unchanged),
        "errors": list(found.errors),
    }


def _errors(row: JudgedRow) -> list[str]:
    errors = [*row.errors, *filter(None, [row.repeated])]
    return [f"{row.place}: {text}" if row.place else text for text in errors]


def _pipeline(stage: Stage, pipelines: PipelineNames) -> str | None:
    pipeline = stage.opportunity_pipeline_id
    return None if pipeline is None else pipelines.name_of(pipeline)
