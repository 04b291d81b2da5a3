"""What a recalibration found, and what it proposes. Pure: no I/O, no Prefect."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from prefect_ruddr.stages.outcome import StageReport
from prefect_ruddr.stages.update import StageUpdate

Decision: TypeAlias = Literal[
    "fixed",
    "inactive",
    "no_deals",
    "too_few",
    "too_early",
    "agrees",
    "too_small",
    "held",
    "changed",
]
"""What is decided about a stage; only "changed" is written."""

Verdict: TypeAlias = Literal["better", "worse", "no clear difference"]
"""How the new numbers would have done beside the old ones."""


class StageEstimate(BaseModel):
    """What the deals say of one stage, and what is decided about it.

    Attributes:
        stage_id: The stage.
        pipeline_id: Its pipeline; None where Ruddr's answer left it out.
        pipeline: What people call the pipeline, or how its id begins.
        name: What the stage is called.
        entered: How many deals first entered it in the window.
        wins: How many of them were won within the horizon.
        losses: How many were lost within the horizon.
        open: How many were still open then, or are now.
        known: How many fates are known: wins, losses, and deals followed for the whole horizon.
        estimate: The share of the deals entering it that are won within the horizon; None
            without deals.
        low: The lower end of the estimate's interval.
        high: The upper end of the estimate's interval.
        old: The probability that the stage has now.
        proposed: The probability to write; None for a stage that is left alone.
        decision: What is decided about it.
        reason: Why, in words.
    """

    model_config = ConfigDict(frozen=True)

    stage_id: UUID
    pipeline_id: UUID | None
    pipeline: str
    name: str
    entered: int
    wins: int
    losses: int
    open: int
    known: int
    estimate: float | None
    low: float | None
    high: float | None
    old: float
    proposed: float | None
    decision: Decision
    reason: str


class StageForecast(BaseModel):
    """How two forecasts for a stage compare with what then happened.

    Attributes:
        stage_id: The stage.
        name: What it is called.
        deals: How many deals entered it in the time of the test.
        happened: The share of them that were won within the horizon, by the same estimator.
        low: The lower end of its interval.
        high: The upper end of its interval.
        variance: The variance of `happened`.
        old: The probability that the stage has now.
        new: What would have been proposed at the beginning of the test.
    """

    model_config = ConfigDict(frozen=True)

    stage_id: UUID
    name: str
    deals: int
    happened: float
    low: float
    high: float
    variance: float
    old: float
    new: float


class Score(BaseModel):
    """How good forecasts were; smaller is better, except for the resolution.

    Attributes:
        brier: The mean squared error of a forecast for one deal:
            reliability - resolution + uncertainty.
        reliability: How far forecasts were from what happened, squared.
        resolution: How far the stages are from each other.
        uncertainty: What nobody can know who knows all deals but not their stages.
        log_loss: The mean of -log of the probability that was given to what happened; a
            forecast counts as at least 0.0001 away from 0 and 1.
    """

    model_config = ConfigDict(frozen=True)

    brier: float
    reliability: float
    resolution: float
    uncertainty: float
    log_loss: float


class Backtest(BaseModel):
    """How the procedure would have done a horizon ago, in one pipeline.

    Attributes:
        pipeline_id: The pipeline; None where Ruddr's answers left it out.
        pipeline: What people call it.
        since: The beginning of the test: one horizon ago. What was known then made the new
            numbers, what happened since tests them.
        stages: The stages that deals entered since.
        old: The score of the numbers that the stages have now.
        new: The score of what would have been proposed then.
        difference: `new.brier` less `old.brier`; below 0 the new numbers are better.
        standard_error: The standard error of the difference.
        verdict: "better" or "worse" beyond 1.28 standard errors.
        open_deals: How many deals were open at the beginning.
        open_won: How many of them have been won since.
        open_expected_old: How many wins the old numbers expected of them.
        open_expected_new: How many wins the new numbers expected of them.
    """

    model_config = ConfigDict(frozen=True)

    pipeline_id: UUID | None
    pipeline: str
    since: datetime
    stages: tuple[StageForecast, ...]
    old: Score
    new: Score
    difference: float
    standard_error: float
    verdict: Verdict
    open_deals: int
    open_won: int
    open_expected_old: float
    open_expected_new: float


class NoBacktest(BaseModel):
    """Why there is no backtest of a pipeline.

    Attributes:
        pipeline_id: The pipeline; None where Ruddr's answers left it out.
        pipeline: What people call it.
        reason: Why, in words.
    """

    model_config = ConfigDict(frozen=True)

    pipeline_id: UUID | None
    pipeline: str
    reason: str


class Recalibration(BaseModel):
    """What deals say of the stages, what is proposed, and what was done about it.

    Attributes:
        as_of: What is known was known at this instant.
        window_days: Deals count for a stage that they first entered in these last days.
        horizon_days: A deal counts as won where it is won within these days of its entry.
        confidence: How sure the intervals are.
        rows: How many rows of history there were.
        deals: How many deals they are about.
        reopened: How many deals were re-opened after they had been closed.
        stages: All stages, also those left alone, by pipeline and then by today's probability.
        warnings: What a person should know before trusting the numbers.
        backtests: One for each pipeline with open stages.
        report: What the run wrote; None where nothing has been tried yet.
    """

    model_config = ConfigDict(frozen=True)

    as_of: datetime
    window_days: int
    horizon_days: int
    confidence: float
    rows: int
    deals: int
    reopened: int
    stages: tuple[StageEstimate, ...]
    warnings: tuple[str, ...]
    backtests: tuple[Backtest | NoBacktest, ...]
    report: StageReport | None = None

    @property
    def updates(self) -> tuple[StageUpdate, ...]:
        """What is to be written: an update for each stage that changes."""
        return tuple(
            StageUpdate(id=stage.stage_id, probability=stage.proposed)
            for stage in self.stages
            if stage.proposed is not None
        )

    def in_one_line(self) -> str:
        """Return what was written in a line, or that the evidence speaks for no change."""
        if self.report and self.report.outcomes:
            return self.report.in_one_line()
        return f"{len(self.updates)} to change" if self.updates else "no stage changes"
