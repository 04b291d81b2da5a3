"""Each stage is changed or left alone for the first of nine reasons that applies."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_ruddr.recalibration.decision import decided, held, target
from prefect_ruddr.recalibration.estimate import LOST, OPEN, WON, Cohort, Evidence, evidence
from prefect_ruddr.recalibration.options import RecalibrationOptions
from prefect_ruddr.recalibration.result import StageEstimate
from prefect_ruddr.stages.stage import Stage
from recalibration.histories import (
    RENEWALS,
    STAGES,
    funnel,
    recalibration,
    renewals,
    simulated,
    stage,
)

YEAR = timedelta(days=365)


def deals(
    *, won: int, lost: int, young: int = 0, mature: int = 0, longest: float = 365.0
) -> Evidence:
    """Return the evidence of so many deals."""
    days = [longest / 4] * (won + lost) + [longest / 2] * young + [365.0] * mature
    fates = [WON] * won + [LOST] * lost + [OPEN] * (young + mature)
    if young:
        days[-1 - mature] = longest
    return evidence(Cohort(days, fates), YEAR, 0.8)


def open_stage(probability: float, *, active: bool = True) -> Stage:
    """Return an open stage."""
    return stage("Proposal", probability, active=active)


# The rows hold what to count, as the library that estimates takes seconds to load.
ENOUGH = {"won": 73, "lost": 141}
DECISIONS: list[Any] = [
    (stage("Won", 1.0, "won"), ENOUGH, "fixed", "a won stage is fixed at 1"),
    (stage("Lost", 0.1, "lost", active=False), None, "fixed", "a lost stage is fixed at 0"),
    (
        open_stage(0.5, active=False),
        ENOUGH,
        "inactive",
        "inactive: no deal enters it any more",
    ),
    (open_stage(0.5), None, "no_deals", "no deal entered it in the last 540 days"),
    (
        open_stage(0.5),
        {"won": 4, "lost": 8, "young": 60, "longest": 75},
        "too_few",
        "12 known fates, 15 needed",
    ),
    (
        open_stage(0.5),
        {"won": 7, "lost": 12, "young": 61, "longest": 75},
        "too_early",
        "followed 75 days at most, 61 of 80 still open: too early",
    ),
    (
        open_stage(0.3),
        {"won": 29, "lost": 71},
        "agrees",
        "0.30 agrees with the evidence (0.24 to 0.35)",
    ),
    (
        open_stage(0.334),
        {"won": 3411, "lost": 6589},
        "too_small",
        "0.334 to 0.3411 is less than 0.01",
    ),
    (
        open_stage(0.5),
        ENOUGH,
        "changed",
        "0.50 lies outside 0.30 to 0.38: 34 % of 214 deals",
    ),
]


@pytest.mark.parametrize(
    ("live", "known", "decision", "reason"), DECISIONS, ids=[row[2] for row in DECISIONS]
)
def test_a_stage_is_decided_about_with_a_reason(
    live: Stage, known: dict[str, int] | None, decision: str, reason: str
) -> None:
    """In the order in which they are written here."""
    found = decided(live, deals(**known) if known else None, RecalibrationOptions())
    assert (found.decision, found.reason) == (decision, reason)
    assert (found.proposed is not None) == (decision == "changed")


def test_most_fates_known_is_not_too_early() -> None:
    """A stage that exists for two months is judged once three of four deals are closed."""
    young = deals(won=20, lost=40, young=20, longest=60)
    assert decided(open_stage(0.6), young, RecalibrationOptions()).decision == "changed"


def test_a_change_is_held_where_the_backtest_is_worse() -> None:
    """Only a change: what is left alone keeps its reason."""
    change = decided(open_stage(0.5), deals(**ENOUGH), RecalibrationOptions())
    assert held(change, 0.5).decision == "held"
    assert held(change, 0.5).proposed is None
    assert held(change, 0.5).reason == (
        "0.3482 is held back: the backtest of this pipeline is clearly worse than with 0.50"
    )
    agrees = decided(open_stage(0.34), deals(**ENOUGH), RecalibrationOptions())
    assert held(agrees, 0.34) == agrees


@pytest.mark.parametrize(
    ("live", "prior_weight", "expected"),
    [(0.5, 10, 0.3482), (0.5, 0, 0.3411), (0.9, 100, 0.3835), (0.0, 100, 0.3008)],
    ids=["between", "evidence alone", "at the upper end", "at the lower end"],
)
def test_the_target_lies_between_todays_value_and_the_evidence(
    live: float, prior_weight: float, expected: float
) -> None:
    """Today's value counts as some deals, but never pulls out of the interval."""
    enough = deals(**ENOUGH)
    assert target(live, enough, prior_weight) == expected
    assert enough.low <= expected <= enough.high


def test_no_open_stage_is_sure() -> None:
    """At least 0.01, at most 0.99, whatever happened."""
    assert target(0.2, deals(won=0, lost=900), 10) == 0.01
    assert target(0.8, deals(won=900, lost=0), 10) == 0.99


def test_an_interval_is_written_so_that_it_does_not_hide_the_reason() -> None:
    """Four decimals where two would read "0.30 lies outside 0.30 to 0.38"."""
    found = decided(open_stage(0.3), deals(**ENOUGH), RecalibrationOptions())
    assert found.reason == "0.30 lies outside 0.3008 to 0.3836: 34 % of 214 deals"


PROBABILITIES = st.integers(0, 10_000).map(lambda number: number / 10_000)


OPTIONS = st.fixed_dictionaries(
    {
        "min_change": st.sampled_from([0, 0.0001, 0.01, 0.05]),
        "prior_weight": st.sampled_from([0, 1, 10, 200]),
        "confidence": st.sampled_from([0.05, 0.5, 0.8, 0.99]),
        "min_known": st.sampled_from([1, 15]),
    }
)


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), st.lists(PROBABILITIES, min_size=5, max_size=5), OPTIONS)
def test_a_second_run_on_the_same_rows_proposes_nothing(
    random: Random, live: list[float], options: dict[str, Any]
) -> None:
    """However wrong today's values are: a scheduled run does not creep on."""
    stages = [*funnel(*live[:3]), *funnel(*live[3:], pipeline=RENEWALS)]
    rows = [
        *simulated(
            random.randrange(10**6),
            (0.2, 0.5, 0.7),
            deals=random.randint(5, 150),
            stages=stages[:5],
            dead=random.choice([0.0, 0.3]),
        ),
        *renewals(simulated(random.randrange(10**6), (0.4, 0.9), deals=90, stages=stages[5:])),
    ]
    first = recalibration(rows, stages, stale_days=9999, **options)
    proposed = {update.id: update.probability for update in first.updates}
    after = [
        one.model_copy(update={"probability": proposed.get(one.id, one.probability)})
        for one in stages
    ]
    assert recalibration(rows, after, stale_days=9999, **options).updates == ()
    assert all(one.proposed != one.old for one in first.stages)


def test_proposals_become_updates_of_the_probability_alone() -> None:
    """Only of stages that change, in four decimals, which Ruddr takes."""
    found = recalibration(simulated(1, (0.1, 0.3, 0.6), deals=900))
    assert [update.fields for update in found.updates] == [
        {"probability": one.proposed} for one in found.stages if one.decision == "changed"
    ]
    assert len(found.updates) >= 2


def row_of(found: StageEstimate) -> tuple[str, float, str]:
    """Return what a person looks at first."""
    return found.name, found.old, found.decision


def test_every_stage_is_accounted_for_by_pipeline_and_probability() -> None:
    """Those that are left alone too, won and lost ones last."""
    stages = [*STAGES[::-1], stage("Renewal Due", 0.7, pipeline=RENEWALS)]
    found = recalibration(simulated(1, (0.1, 0.5, 0.75)), stages)
    assert [row_of(one) for one in found.stages] == [
        ("Renewal Due", 0.7, "no_deals"),
        ("Qualification", 0.25, "changed"),
        ("Discovery", 0.5, "agrees"),
        ("Proposal", 0.75, "agrees"),
        ("Lost", 0.0, "fixed"),
        ("Won", 1.0, "fixed"),
    ]


def test_counts_add_up() -> None:
    """Won, lost and open are all that entered; known fates are among them."""
    for one in recalibration(simulated(3, (0.25, 0.5, 0.75), dead=0.2)).stages:
        assert one.entered == one.wins + one.losses + one.open
        assert one.wins + one.losses <= one.known <= one.entered
