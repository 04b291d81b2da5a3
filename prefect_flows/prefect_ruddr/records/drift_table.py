"""A drift as a table in Prefect: a row for each field that is not as it was wanted."""

from __future__ import annotations

from prefect_ruddr.records.artifacts import publish_table, side_by_side
from prefect_ruddr.stages.drift import DRIFT_KEY, StageDrift
from prefect_ruddr.texts import markdown


def publish_drift(drift: StageDrift) -> None:
    """Publish what differs as a table artifact of this flow run."""
    missing = [
        {
            "stage": each.label,
            "field": f"({each.what})",
            "wanted": None,
            "live": each.why,
            "stage id": str(each.stage_id) if each.stage_id else None,
        }
        for each in drift.missing
    ]
    differing = [
        {
            "stage": change.label,
            "field": field.field,
            "wanted": field.after,
            "live": field.before,
            "stage id": str(change.stage_id),
        }
        for change in drift.plan.changes
        for field in change.fields
    ]
    rows = [*missing, *side_by_side(differing, "wanted", "live")]
    publish_table(DRIFT_KEY, rows, f"### {markdown(drift.in_one_line())}", {})
