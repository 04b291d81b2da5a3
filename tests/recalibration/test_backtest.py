"""What the same procedure would have done a horizon ago, tested on what happened since."""

from __future__ import annotations

from datetime import timedelta
from math import isclose, log, sqrt
from uuid import UUID

from prefect_ruddr.recalibration.backtest import compared, open_deals, score
from prefect_ruddr.recalibration.result import Backtest, NoBacktest, Recalibration, StageForecast
from prefect_ruddr.recalibration.table import backtest_sentence
from recalibration.histories import (
    NOW,
    RENEWALS,
    STAGES,
    Row,
    entry,
    funnel,
    judged,
    open_estimates,
    recalibration,
    renewals,
    simulated,
    with_pair,
)

QUALIFICATION, DISCOVERY, PROPOSAL, WON, LOST = STAGES
RATES = (0.3, 0.5, 0.8)


def backtest(found: Recalibration) -> Backtest:
    """Return the only backtest."""
    [test] = found.backtests
    assert isinstance(test, Backtest)
    return test


def forecast(
    *, deals: int, happened: float, old: float, new: float, variance: float = 0.001
) -> StageForecast:
    """Return a forecast and what happened."""
    return StageForecast(
        stage_id=UUID(int=deals), name="S", deals=deals, happened=happened, low=0, high=1,
        variance=variance, old=old, new=new,
    )  # fmt: skip


def test_the_brier_score_is_that_of_its_parts() -> None:
    """Reliability less resolution plus uncertainty is the mean squared error of every deal."""
    found = score([(30, 0.5, 0.4), (10, 0.8, 0.9)])
    deals = [(0.5, 1)] * 12 + [(0.5, 0)] * 18 + [(0.8, 1)] * 9 + [(0.8, 0)]
    assert isclose(found.brier, sum((said - won) ** 2 for said, won in deals) / 40)
    assert isclose(found.brier, found.reliability - found.resolution + found.uncertainty)
    assert isclose(found.reliability, 0.01)
    assert isclose(found.log_loss, sum(-log(said if won else 1 - said) for said, won in deals) / 40)


def test_a_forecast_that_was_sure_and_wrong_has_a_finite_log_loss() -> None:
    """It counts as 0.0001 away from being sure."""
    assert isclose(score([(10, 0.0, 1.0)]).log_loss, -log(0.0001))


def test_the_difference_has_the_standard_error_of_what_happened() -> None:
    """Stage by stage, each by its weight."""
    tests = [
        forecast(deals=30, happened=0.4, old=0.5, new=0.42, variance=0.008),
        forecast(deals=10, happened=0.9, old=0.8, new=0.7, variance=0.009),
    ]
    difference, error = compared(tests)
    by_scores = [
        score([(test.deals, getattr(test, which), test.happened) for test in tests]).brier
        for which in ("old", "new")
    ]
    assert isclose(difference, by_scores[1] - by_scores[0], abs_tol=1e-9)
    assert isclose(error, sqrt((2 * 0.75 * 0.08) ** 2 * 0.008 + (2 * 0.25 * 0.1) ** 2 * 0.009))


def test_numbers_far_off_are_found_to_be_worse_than_the_new_ones() -> None:
    """Today's 0.6, 0.8, 0.95 where 0.3, 0.5, 0.8 are true."""
    stages = funnel(0.6, 0.8, 0.95)
    test = backtest(recalibration(simulated(1, RATES, deals=1500, stages=stages), stages))
    assert test.verdict == "better"
    assert test.difference < -1.28 * test.standard_error
    assert test.new.reliability < 0.005 < test.old.reliability
    assert test.since == recalibration(simulated(1, RATES, deals=1500)).as_of - timedelta(days=365)


def process_that_changed() -> list[Row]:
    """Return deals of which many were won until a year ago, and few since."""
    early = simulated(1, (0.7, 0.8, 0.9), deals=900, days=600, until=NOW - timedelta(days=380))
    late = simulated(2, (0.1, 0.2, 0.4), deals=600, days=390)
    return [*early, *renewals(late)]


def test_changes_are_held_where_the_backtest_is_clearly_worse() -> None:
    """What was learned before the process changed would have misled: a person should look."""
    stages = funnel(0.12, 0.22, 0.42)
    found = recalibration(process_that_changed(), stages)
    assert backtest(found).verdict == "worse"
    decisions = [one.decision for one in found.stages[:3]]
    assert "held" in decisions
    assert found.updates == ()
    assert "so nothing is changed here" in backtest_sentence(backtest(found))


def test_one_pipeline_is_not_held_for_another() -> None:
    """Each has its own backtest."""
    stages = [*funnel(0.12, 0.22, 0.42), *funnel(0.6, 0.8, 0.95, pipeline=RENEWALS)]
    good = simulated(1, RATES, deals=1500, stages=stages[5:])
    rows = [*process_that_changed(), *renewals(renewals(good))]
    found = recalibration(rows, stages)
    by_pipeline = {test.pipeline_id: test for test in found.backtests}
    assert {update.id for update in found.updates} == {one.id for one in stages[5:8]}
    assert len(by_pipeline) == 2


def test_what_happened_later_is_not_known_at_the_beginning() -> None:
    """Neither a closing nor a re-opening: the new numbers are those of a run at that time."""
    rows = simulated(4, RATES, deals=1200, dead=0.1)
    stages = funnel(0.6, 0.8, 0.95)
    test = backtest(recalibration(rows, stages))
    then = recalibration(rows, stages, as_of=test.since)
    assert [one.new for one in test.stages] == [
        one.old if one.proposed is None else one.proposed for one in then.stages[:3]
    ]


def test_open_deals_are_counted_by_the_stage_that_they_were_in() -> None:
    """With how many of them have been won since: dead deals are forecast too high."""
    then = NOW - timedelta(days=100)
    rows = [
        entry("won later", QUALIFICATION, then - timedelta(days=20)),
        entry("won later", DISCOVERY, then - timedelta(days=10)),
        entry("won later", PROPOSAL, then + timedelta(days=10)),
        entry("won later", WON, NOW),
        entry("dead", DISCOVERY, then - timedelta(days=90)),
        entry("back", DISCOVERY, then - timedelta(days=20)),
        entry("back", QUALIFICATION, then - timedelta(days=10)),
        entry("closed", QUALIFICATION, then - timedelta(days=10)),
        entry("closed", LOST, then - timedelta(days=1)),
        entry("new", QUALIFICATION, then + timedelta(days=1)),
    ]
    expected = {DISCOVERY.id: (2, 1), QUALIFICATION.id: (1, 0)}
    assert open_deals(judged(rows), then) == expected
    assert open_deals(judged(with_pair(rows)), then) == expected


def test_dead_deals_show_in_the_open_ones() -> None:
    """Both numbers expect more of them than came, and the sentence says so."""
    stages = funnel(0.6, 0.8, 0.95)
    rows = simulated(1, RATES, deals=1500, stages=stages, dead=0.9, winning=(5, 20))
    test = backtest(recalibration(rows, stages))
    assert test.open_won < test.open_expected_new / 3 < test.open_expected_old / 3
    assert (
        f"Open at the beginning: {test.open_deals}, of which the old numbers expected to win"
        f" {test.open_expected_old:.0f}, the new ones {test.open_expected_new:.0f}; won since:"
        f" {test.open_won}."
    ) in backtest_sentence(test)


def test_a_short_history_has_no_backtest_and_blocks_nothing() -> None:
    """It says since when there is a history."""
    found = recalibration(simulated(1, RATES, deals=900, days=300, losing=(3, 9), winning=(5, 20)))
    [test] = found.backtests
    assert isinstance(test, NoBacktest)
    assert test.reason.startswith("no backtest: the history begins 2025-05-")
    assert found.updates


def test_closed_deals_alone_prefer_the_wrong_numbers() -> None:
    """With slow winners they call won/closed better nearly always; this backtest does not."""
    flattered = ours = 0
    for seed in range(12):
        rows = simulated(seed, RATES, deals=1000)
        test = backtest(recalibration(rows))
        past = recalibration(rows, as_of=test.since)
        naive = [one.wins / (one.wins + one.losses) for one in past.stages[:3]]
        right = list(open_estimates(past))
        closed = {one.id: [0, 0] for one in STAGES[:3]}
        for deal in judged(rows).deals:
            for event in deal.events:
                if event.stage_id and event.at > test.since and deal.events[-1].outcome:
                    closed[event.stage_id][0] += 1
                    closed[event.stage_id][1] += deal.events[-1].outcome == "won"
        of_closed = [(deals, won / deals) for deals, won in closed.values()]
        of_all = [(one.deals, one.happened) for one in test.stages]
        flattered += _brier(naive, of_closed) < _brier(right, of_closed)
        ours += _brier(right, of_all) < _brier(naive, of_all)
    assert flattered >= 10
    assert ours >= 10


def _brier(numbers: list[float], happened: list[tuple[int, float]]) -> float:
    return score(
        [(deals, said, share) for said, (deals, share) in zip(numbers, happened, strict=True)]
    ).brier
