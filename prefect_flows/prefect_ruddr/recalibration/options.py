"""What can be set about a recalibration. Pure: no I/O, no Prefect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo

from attrs import field, frozen

from prefect_ruddr.errors import HistoryRefused
from prefect_ruddr.texts import shown

UnknownStages: TypeAlias = Literal["refuse", "ignore"]
"""What to do about rows of stages that the workspace does not have (any more)."""


@frozen(kw_only=True)
class RecalibrationOptions:
    """How a history is read, and how much evidence it takes to change a probability.

    Attributes:
        as_of: Evaluate what was known at this instant; None for the newest instant in the rows.
        window_days: Deals count for a stage that they first entered in these last days.
        horizon_days: A deal counts as won where it is won within these days of its entry.
        min_known: With fewer known fates of deals, a stage is left alone.
        prior_weight: How many deals today's probability counts for, beside the evidence.
        confidence: How sure the interval is, between 0 and 1.
        min_change: A smaller change is not worth writing.
        stale_days: Rows whose newest instant is older are refused, unless `as_of` is given.
        time_zone: The zone of instants without an offset, such as "Europe/Berlin".
        renamed: Former names of stages, each with what the stage is called now.
        unknown_stages: "refuse" a history with rows of stages that are not there, or "ignore"
            such rows, which takes the columns `outcome` and `closed_at`.
        pipelines: What people call the pipelines, each name with the pipeline's id; Ruddr's API
            has no names for them. Rows may use these names.

    Raises:
        HistoryRefused: With every option that cannot be.

    Examples:
        >>> RecalibrationOptions(window_days=300).window
        Traceback (most recent call last):
        prefect_ruddr.errors.HistoryRefused: ... window_days = 300: shorter than horizon_days = ...
    """

    as_of: datetime | None = None
    window_days: int = 540
    horizon_days: int = 365
    min_known: int = 15
    prior_weight: float = 10
    confidence: float = 0.8
    min_change: float = 0.01
    stale_days: float = 14
    time_zone: str | None = None
    renamed: Mapping[str, str] = field(factory=dict)
    unknown_stages: UnknownStages = "refuse"
    pipelines: Mapping[str, UUID] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be."""
        if errors := list(self._errors()):
            raise HistoryRefused(errors)

    @property
    def window(self) -> timedelta:
        """How long before `as_of` deals count."""
        return timedelta(days=self.window_days)

    @property
    def horizon(self) -> timedelta:
        """How long after its entry a deal is followed."""
        return timedelta(days=self.horizon_days)

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone of instants without an offset."""
        return ZoneInfo(self.time_zone) if self.time_zone else None

    def pipeline_text(self, pipeline_id: UUID | None) -> str:
        """Return what people call a pipeline, or how its id begins."""
        names = {known: name for name, known in self.pipelines.items()}
        if pipeline_id is None:
            return "no pipeline"
        return names.get(pipeline_id, f"pipeline {str(pipeline_id)[:8]}")

    def _errors(self) -> Iterator[str]:
        limits = {
            "horizon_days": (1 <= self.horizon_days <= 3650, "should be from 1 to 3650"),
            "window_days": (1 <= self.window_days <= 36500, "should be from 1 to 36500"),
            "min_known": (self.min_known >= 1, "should be at least 1"),
            "prior_weight": (0 <= self.prior_weight < float("inf"), "should be at least 0"),
            "confidence": (0 < self.confidence < 1, "should lie between 0 and 1"),
            "min_change": (0 <= self.min_change <= 1, "should be from 0 to 1"),
            "stale_days": (self.stale_days > 0, "should be above 0"),
            "unknown_stages": (
                self.unknown_stages in {"refuse", "ignore"},
                "should be refuse or ignore",
            ),
        }
        for name, (fits, limit) in limits.items():
            if not fits:
                yield f"{name} = {shown(getattr(self, name))}: {limit}"
        if self.window_days < self.horizon_days:
            yield (
                f"window_days = {self.window_days}: shorter than"
                f" horizon_days = {self.horizon_days}, so no deal could be followed that long"
            )
        try:
            zone = self.zone
        except (KeyError, ValueError, OSError):
            yield f"time_zone = {shown(self.time_zone)}: no such time zone"
        else:
            if self.as_of and self.as_of.tzinfo is None and zone is None:
                yield f"as_of = {self.as_of.isoformat()}: no time zone"
