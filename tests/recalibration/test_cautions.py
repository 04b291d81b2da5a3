"""Warnings tell a person what to ask before trusting the numbers; none of them blocks."""

from __future__ import annotations

from datetime import timedelta

from recalibration.histories import (
    NOW,
    RENEWALS,
    STAGES,
    entry,
    funnel,
    recalibration,
    renewals,
    simulated,
    stage,
    with_pair,
)

RATES = (0.3, 0.5, 0.8)
QUALIFICATION, DISCOVERY, PROPOSAL, WON, LOST = STAGES
CALLED = {"New Business": STAGES[0].opportunity_pipeline_id, "Renewals": RENEWALS}


def test_a_steady_history_gives_no_warning() -> None:
    """With the rates of today, no dead deals, and nothing re-opened."""
    assert recalibration(simulated(1, RATES, deals=900)).warnings == ()


def test_a_closing_stage_that_holds_another_value_is_named() -> None:
    """It is never written: a person has to."""
    stages = [*STAGES[:3], stage("Won", 0.95, "won"), stage("Lost", 0.1, "lost")]
    found = recalibration(simulated(1, RATES), stages, pipelines=CALLED)
    assert found.warnings == (
        "Lost (New Business) is a lost stage but holds 0.1, not 0: set it by hand.",
        "Won (New Business) is a won stage but holds 0.95, not 1: set it by hand.",
    )
    assert {one.id for one in stages[3:]} & {update.id for update in found.updates} == set()


def test_estimates_that_fall_in_the_order_of_todays_values_are_named() -> None:
    """The order is Ruddr's; the numbers stay what the deals say."""
    stages = [
        stage("Qualification", 0.5),
        stage("Discovery", 0.3),
        *STAGES[2:],
    ]
    found = recalibration(simulated(1, RATES, deals=900), stages, pipelines=CALLED)
    assert found.warnings == (
        "Qualification (New Business) stands at 0.5, above Discovery at 0.3, but fewer of its deals"
        " are won: 32% against 51%.",
    )


def test_estimates_of_two_pipelines_are_not_compared() -> None:
    """Each pipeline has an order of its own."""
    stages = [*STAGES, *funnel(0.1, 0.2, pipeline=RENEWALS)]
    rows = simulated(1, (0.05, 0.1), deals=900, stages=stages[5:])
    found = recalibration([*simulated(1, RATES, deals=900), *renewals(rows)], stages)
    assert found.warnings == ()


def test_a_process_that_changed_is_named() -> None:
    """The halves of the window do not agree, both followed equally long."""
    rows = [
        *simulated(1, (0.1, 0.2, 0.4), deals=300, days=270, until=NOW - timedelta(days=270)),
        *renewals(simulated(2, (0.5, 0.7, 0.9), deals=300, days=270)),
    ]
    [first, second, third] = recalibration(rows, pipelines=CALLED).warnings
    assert first == (
        "Qualification (New Business): within 270 days 6% to 9% are won in the first half of the"
        " window, 37% to 47% in the second: the process changed: a shorter window_days?"
    )
    assert second.startswith("Discovery (New Business): within 270 days ")
    assert third.startswith("Proposal (New Business): within 270 days ")


def test_slow_winners_do_not_look_like_a_process_that_changed() -> None:
    """The second half could not be followed as long as the first one: so neither is."""
    warned = 0
    for seed in range(12):
        found = recalibration(simulated(seed, RATES, deals=2000, winning=(60, 120)))
        warned += sum("the process changed" in text for text in found.warnings)
    # Of 36 comparisons: two intervals of 80 % are apart by accident in one of fourteen.
    assert warned <= 7


def test_deals_that_nobody_closes_are_named() -> None:
    """Of the entries that could be followed for the whole horizon."""
    rows = simulated(1, RATES, deals=900, dead=0.6)
    [found] = recalibration(rows, pipelines=CALLED).warnings
    assert found == (
        "New Business: 99 of 296 entries that were followed for 365 days were still open then:"
        " close dead deals."
    )


def test_reopened_deals_are_counted() -> None:
    """In the report, and in a warning."""
    rows = [
        *simulated(1, RATES, deals=900),
        entry("A", QUALIFICATION, NOW - timedelta(days=90)),
        entry("A", LOST, NOW - timedelta(days=80)),
        entry("A", DISCOVERY, NOW - timedelta(days=70)),
        entry("A", WON, NOW - timedelta(days=60)),
    ]
    for form in (rows, with_pair(rows)):
        found = recalibration(form)
        assert found.reopened == 1
        assert found.warnings == (
            "1 deal was re-opened: each counts as open until it is closed again.",
        )


def test_ignored_rows_are_counted() -> None:
    """Of stages that are not there any more."""
    rows = with_pair(simulated(1, RATES, deals=900))
    gone = stage("Gone", 0.5)
    more = [entry("A", gone, NOW - timedelta(days=90), outcome=None, closed_at=None)]
    found = recalibration([*rows, *more], unknown_stages="ignore")
    assert found.warnings == (
        f"1 of {len(rows) + 1} rows are of stages that are not there: ignored.",
    )
