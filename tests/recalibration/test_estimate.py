"""The share of deals that are won within the horizon: right, where the simple ways are wrong."""

from __future__ import annotations

import warnings
from collections import Counter
from datetime import timedelta
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr.recalibration.estimate import LOST, OPEN, WON, Cohort, cohorts, evidence
from recalibration.histories import (
    NOW,
    STAGES,
    Row,
    entry,
    judged,
    open_estimates,
    recalibration,
    simulated,
    with_pair,
)

YEAR = timedelta(days=365)
QUALIFICATION, DISCOVERY, PROPOSAL, WON_STAGE, LOST_STAGE = STAGES
RATES = (0.3, 0.5, 0.8)


def by_hand(cohort: Cohort) -> float:
    """Return the sum over all times of S(t-) times won(t) / at risk(t)."""
    survival, share = 1.0, 0.0
    for day in sorted(set(cohort.days)):
        at_risk = sum(days >= day for days in cohort.days)
        ended = Counter(
            fate for days, fate in zip(cohort.days, cohort.fates, strict=True) if days == day
        )
        share += survival * ended[WON] / at_risk
        survival *= 1 - (ended[WON] + ended[LOST]) / at_risk
    return share


COHORTS = st.lists(
    st.tuples(st.integers(0, 40).map(float), st.sampled_from([OPEN, WON, LOST])), min_size=1
).map(lambda deals: Cohort([days for days, _ in deals], [fate for _, fate in deals]))


@given(COHORTS)
def test_the_estimate_is_the_formula(cohort: Cohort) -> None:
    """With ties, with no event at all, and where the last deal at risk is closed: no warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evidence(cohort, timedelta(days=40), 0.8)
    assert isclose(found.estimate, by_hand(cohort), abs_tol=1e-9)
    assert 0 <= found.low <= found.high <= 1
    assert 0 < found.variance < 1
    assert found.entered == len(cohort.days)


def test_the_estimate_is_the_share_where_every_fate_is_known() -> None:
    """And its interval is that of a Beta distribution, half a deal away from being sure."""
    cohort = Cohort([10.0] * 30 + [365.0] * 10, [WON] * 12 + [LOST] * 18 + [OPEN] * 10)
    found = evidence(cohort, YEAR, 0.8)
    assert (found.entered, found.wins, found.losses, found.known) == (40, 12, 18, 40)
    assert found.estimate == 0.3
    assert (round(found.low, 4), round(found.high, 4)) == (0.2155, 0.3985)


@pytest.mark.parametrize(
    ("fates", "low", "high"),
    [([LOST] * 20, 0.0, 0.0646), ([WON] * 20, 0.9354, 1.0), ([OPEN] * 20, 0.0, 0.0646)],
    ids=["all lost", "all won", "all open for the whole horizon"],
)
def test_an_interval_reaches_the_end_where_all_deals_did_the_same(
    fates: list[int], low: float, high: float
) -> None:
    """Nobody has seen the other thing happen; the variance is that of half a deal."""
    found = evidence(Cohort([365.0] * 20, fates), YEAR, 0.8)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.variance > 0


def followed(rows: list[Row], horizon: timedelta = YEAR) -> dict[str, tuple[float, int]]:
    """Return how long the only deal was followed in each stage, and its fate then."""
    names = {one.id: one.name for one in STAGES}
    deals = judged([*rows, entry("other", PROPOSAL, NOW), entry("A", PROPOSAL, NOW)][:-1]).deals
    found = cohorts(
        deals[:1], since=NOW - timedelta(days=540), until=NOW, as_of=NOW, horizon=horizon
    )
    return {names[one]: (kept.days[0], kept.fates[0]) for one, kept in found.items()}


def days_ago(days: float) -> Row:
    """Return the fields of an entry so many days ago."""
    return {"at": NOW - timedelta(days=days)}


def test_a_deal_is_followed_from_its_first_entry_to_its_closing() -> None:
    """Re-entries and backward moves need nothing special; a skipped stage was not entered."""
    rows = [
        entry("A", QUALIFICATION, **days_ago(100)),
        entry("A", PROPOSAL, **days_ago(90)),
        entry("A", QUALIFICATION, **days_ago(80)),
        entry("A", PROPOSAL, **days_ago(70)),
        entry("A", WON_STAGE, **days_ago(50)),
    ]
    assert followed(rows) == {"Qualification": (50.0, WON), "Proposal": (40.0, WON)}


def test_a_deal_that_is_open_is_followed_until_now() -> None:
    """It is not lost, and not left out."""
    rows = [
        entry("A", QUALIFICATION, **days_ago(100)),
        entry("A", PROPOSAL, **days_ago(90)),
    ]
    assert followed(rows) == {"Qualification": (100.0, OPEN), "Proposal": (90.0, OPEN)}


def test_beyond_the_horizon_a_deal_is_open() -> None:
    """What happens on the last day counts, what happens later does not."""
    rows = [
        entry("A", QUALIFICATION, **days_ago(400)),
        entry("A", PROPOSAL, **days_ago(399)),
        entry("A", WON_STAGE, **days_ago(34)),
    ]
    assert followed(rows) == {"Qualification": (365.0, OPEN), "Proposal": (365.0, WON)}


def test_a_deal_that_is_open_again_is_followed_on() -> None:
    """From its first entry, to its last closing."""
    rows = [
        entry("A", QUALIFICATION, **days_ago(100)),
        entry("A", LOST_STAGE, **days_ago(90)),
        entry("A", PROPOSAL, **days_ago(60)),
    ]
    assert followed(rows) == {"Qualification": (100.0, OPEN), "Proposal": (60.0, OPEN)}
    rows.append(entry("A", WON_STAGE, **days_ago(10)))
    assert followed(rows) == {"Qualification": (90.0, WON), "Proposal": (50.0, WON)}


def test_entries_before_the_window_do_not_count() -> None:
    """Nor do later re-entries of the same deal."""
    rows = [
        entry("A", QUALIFICATION, **days_ago(541)),
        entry("A", PROPOSAL, **days_ago(30)),
        entry("A", QUALIFICATION, **days_ago(20)),
    ]
    assert followed(rows) == {"Proposal": (30.0, OPEN)}


def test_the_estimates_converge_to_the_true_rates() -> None:
    """With many deals they are as near as chance allows, though half are young and many open."""
    found = recalibration(simulated(7, RATES, deals=20_000))
    for one, true in zip(open_estimates(found), RATES, strict=True):
        assert abs(one - true) < 0.015


@pytest.mark.parametrize("seed", range(4))
def test_won_by_closed_is_far_off(seed: int) -> None:
    """Losers close fast: of young deals, the closed ones are mostly lost."""
    found = recalibration(simulated(seed, RATES, deals=4000))
    for one, true in zip(found.stages[:2], RATES, strict=False):
        assert one.wins / (one.wins + one.losses) < true - 0.04
        assert abs((one.estimate or 0) - true) < 0.04


@pytest.mark.parametrize("seed", range(4))
def test_the_current_stage_alone_is_far_off(seed: int) -> None:
    """A deal that was lost later never left a trace in the stages that it passed."""
    rows = simulated(seed, RATES, deals=4000)
    status = {str(one.id): one.status_id for one in STAGES}
    last_open = {row["opportunity_id"]: row for row in rows if status[row["stage_id"]] == "open"}
    ends = {row["opportunity_id"]: status[row["stage_id"]] for row in rows}
    won = Counter(row["stage_id"] for deal, row in last_open.items() if ends[deal] == "won")
    all_deals = Counter(row["stage_id"] for row in last_open.values())
    for one, true in zip(STAGES[:2], RATES, strict=False):
        assert won[str(one.id)] / all_deals[str(one.id)] < true - 0.2


@pytest.mark.parametrize("seed", range(4))
def test_the_interval_holds_the_true_rate_as_often_as_it_says(seed: int) -> None:
    """Four of five; over sixty intervals, not fewer than three of five."""
    inside = []
    for number in range(20):
        found = recalibration(simulated(100 * seed + number, RATES, deals=300))
        for one, true in zip(found.stages, RATES, strict=False):
            inside.append((one.low or 0) <= true <= (one.high or 0))
    assert sum(inside) >= 36


@pytest.mark.parametrize("seed", range(5))
def test_both_forms_of_a_history_give_the_same_estimates(seed: int) -> None:
    """Rows of won and lost stages, or outcome and closing on every row."""
    rows = simulated(seed, RATES, deals=300, dead=0.2)
    # Some are re-opened: what was known of them a horizon ago is the same too.
    lost = [row for row in rows if row["stage_id"] == str(LOST_STAGE.id)]
    for row in lost[::9]:
        for into, days in ((PROPOSAL, 5), (WON_STAGE, 30)):
            at = row["entered_at"] + timedelta(days=days)
            rows += [entry(row["opportunity_id"], into, at)] * (at <= NOW)
    in_rows, paired = recalibration(rows), recalibration(with_pair(rows))
    assert in_rows == paired
    assert in_rows.reopened > 5
    closing = {str(WON_STAGE.id), str(LOST_STAGE.id)}
    bare = [row for row in with_pair(rows) if row["stage_id"] not in closing]
    assert recalibration(bare, as_of=in_rows.as_of).stages == in_rows.stages
