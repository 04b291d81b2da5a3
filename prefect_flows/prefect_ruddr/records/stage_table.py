"""All stages as a table in Prefect, for people who look for an id."""

from __future__ import annotations

from collections.abc import Sequence

from prefect_ruddr.records.artifacts import publish_table
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.stage import Stage
from prefect_ruddr.texts import count

STAGES_KEY = "ruddr-stages"


def publish_stages(stages: Sequence[Stage], pipelines: PipelineNames) -> None:
    """Publish the stages as a table artifact of this flow run, in their order."""
    # Prefect's UI cuts off what stands on the right, so the id is not there.
    rows = [
        {
            "stage": stage.name,
            "pipeline": pipelines.name_of(stage.opportunity_pipeline_id),
            "id": str(stage.id),
            "probability": stage.probability,
            "status": stage.status_id,
            "active": "yes" if stage.is_active else "no",
            "description": stage.description,
            "pipeline id": str(stage.opportunity_pipeline_id or ""),
        }
        for stage in stages
    ]
    publish_table(STAGES_KEY, rows, f"### {count(len(rows), 'stage')}", {})
