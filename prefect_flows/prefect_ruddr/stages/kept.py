"""What a stage holds of what was sent to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from prefect_ruddr.errors import ValueNotKept
from prefect_ruddr.stages.stage import FieldName, FieldValue, Stage


def missed(wanted: Mapping[FieldName, FieldValue], stage: Stage) -> list[FieldName]:
    """Return the fields in which a stage is seen not to hold what is wanted.

    An answer may leave the pipeline out, which then speaks neither for nor against.
    """
    return [field for field in seen(wanted, stage) if stage.value(field) != wanted[field]]


def seen(wanted: Mapping[FieldName, FieldValue], stage: Stage) -> list[FieldName]:
    """Return those of the fields that the answer tells about."""
    return [
        field
        for field in wanted
        if field != "opportunity_pipeline_id" or stage.value(field) is not None
    ]


def is_seen_to_hold(wanted: Mapping[FieldName, FieldValue], stage: Stage) -> bool:
    """Tell whether the answer shows every field that is wanted, with its value."""
    return len(seen(wanted, stage)) == len(wanted) and not missed(wanted, stage)


def missed_text(wanted: Mapping[FieldName, FieldValue], stage: Stage) -> str:
    """Say what a stage holds instead of what is wanted: "probability is 0.3, not 0.37"."""
    return ", ".join(
        f"{field} is {stage.value(field)!r}, not {wanted[field]!r}"
        for field in missed(wanted, stage)
    )


def require_kept(wanted: Mapping[FieldName, FieldValue], stage: Stage) -> None:
    """Compare the answer to a write with what was sent.

    Raises:
        ValueNotKept: When Ruddr confirmed the change but holds another value.
    """
    if text := missed_text(wanted, stage):
        raise ValueNotKept(f"{stage.name}: Ruddr confirmed the change, but {text}")
