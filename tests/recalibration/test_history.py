"""Rows of history become deals, or are refused as a whole with every error at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest

from prefect_ruddr.errors import HistoryRefused, RuddrError
from prefect_ruddr.recalibration.deals import was_reopened
from recalibration.histories import (
    NEW_BUSINESS,
    NOW,
    RENEWALS,
    STAGES,
    Row,
    entry,
    funnel,
    judged,
    simulated,
    stage,
    with_pair,
)

QUALIFICATION, DISCOVERY, PROPOSAL, WON, LOST = STAGES


def day(number: float) -> datetime:
    """Return an instant so many days ago."""
    return NOW - timedelta(days=number)


def good_rows() -> list[Row]:
    """Return a small history with nothing wrong: one deal won, one open."""
    return [
        entry("A", QUALIFICATION, day(40)),
        entry("A", DISCOVERY, day(20)),
        entry("A", WON, day(3)),
        entry("B", QUALIFICATION, day(9)),
        entry("B", DISCOVERY, day(2)),
    ]


def placed(rows: list[Row]) -> list[Row]:
    """Return the rows as a file would give them."""
    return [{**row, "place": f"deals.csv line {line}"} for line, row in enumerate(rows, 2)]


def refusal(rows: list[Row], **options: Any) -> tuple[str, ...]:
    """Return the errors for which the rows are refused."""
    with pytest.raises(HistoryRefused) as caught:
        judged(placed(rows), **options)
    assert isinstance(caught.value, RuddrError)
    return caught.value.errors


def changed(rows: list[Row], number: int, **fields: Any) -> list[Row]:
    """Return the rows with other values in one of them; `...` takes a column away."""
    row = {key: value for key, value in {**rows[number], **fields}.items() if value is not ...}
    return [*rows[:number], row, *rows[number + 1 :]]


def paired(number: int, **fields: Any) -> list[Row]:
    """Return a history with outcomes, with other values in one row."""
    return changed(with_pair(good_rows()), number, **fields)


UNKNOWN = "00000000-0000-4000-8000-000000000000"
REFUSED: list[Any] = [
    pytest.param(
        changed(good_rows(), 1, entered_at=day(32).replace(tzinfo=None)),
        'entered_at has no time zone: give time_zone, such as "Europe/Berlin": deals.csv line 3',
        id="no time zone",
    ),
    pytest.param(
        changed(good_rows(), 1, entered_at="2026-02-31T09:00+01:00"),
        "entered_at is no instant such as 2026-03-05T14:30:00+01:00: deals.csv line 3"
        " ('2026-02-31T09:00+01:00')",
        id="no instant",
    ),
    pytest.param(
        changed(good_rows(), 1, entered_at=float("nan")),
        "entered_at is blank: deals.csv line 3",
        id="blank instant",
    ),
    pytest.param(
        changed(good_rows(), 1, opportunity_id=" "),
        "opportunity_id is blank: deals.csv line 3",
        id="blank deal",
    ),
    pytest.param(
        changed(good_rows(), 1, stage_id=UNKNOWN),
        f"stage_id = {UNKNOWN}: no stage has that id: deals.csv line 3",
        id="unknown stage id",
    ),
    pytest.param(
        changed(good_rows(), 1, stage_id="A7"),
        "stage_id = 'A7': not a UUID: deals.csv line 3",
        id="stage id that is none",
    ),
    pytest.param(
        changed(good_rows(), 1, stage_id=None, stage="Discovry"),
        "stage = 'Discovry': no stage is called that; the closest: 'Discovery' (renamed may name"
        " it): deals.csv line 3",
        id="unknown stage name",
    ),
    pytest.param(
        changed(good_rows(), 1, stage="Discovery"),
        "stage_id and stage or pipeline: give the id alone, or stage and pipeline:"
        " deals.csv line 3",
        id="stage twice",
    ),
    pytest.param(
        changed(good_rows(), 1, stage_id=None),
        "no stage: stage_id and stage are blank: deals.csv line 3",
        id="no stage",
    ),
    pytest.param(
        changed(good_rows(), 1, stage_id=None, stage="Discovery", pipeline="Sales"),
        "pipeline = 'Sales': not a UUID, nor a name in pipelines: deals.csv line 3",
        id="unknown pipeline",
    ),
    pytest.param(
        paired(1, outcome="Closed Won"),
        "outcome is neither won nor lost: deals.csv line 3 ('Closed Won')",
        id="neither won nor lost",
    ),
    pytest.param(
        [{**row, "closed_at": day(30)} if row["outcome"] else row for row in paired(0)],
        "closed before entered: deals.csv line 3",
        id="closed before entered",
    ),
    pytest.param(
        paired(1, closed_at=None),
        "an outcome without closed_at: deals.csv line 3",
        id="outcome without closing",
    ),
    pytest.param(
        paired(1, outcome=None),
        "closed_at without an outcome: deals.csv line 3",
        id="closing without outcome",
    ),
    pytest.param(
        paired(1, outcome="lost"),
        "two different outcomes of one deal: deals.csv line 3",
        id="two outcomes",
    ),
    pytest.param(
        paired(1, outcome=None, closed_at=None),
        "two different outcomes of one deal: deals.csv line 3",
        id="closed and open",
    ),
    pytest.param(
        paired(1, closed_at=day(1)),
        "two different closed_at of one deal: deals.csv line 3",
        id="two closings",
    ),
    pytest.param(
        [*good_rows(), entry("A", LOST, day(3))],
        "two different outcomes at the same instant: deal 'A'",
        id="won and lost at once",
    ),
    pytest.param(
        [*good_rows(), entry("A", DISCOVERY, day(20))],
        "the same deal, stage and instant twice: deals.csv line 7",
        id="duplicate",
    ),
    pytest.param(
        [*good_rows(), entry("A", PROPOSAL, NOW + timedelta(days=2))],
        "entered_at lies in the future: deals.csv line 7 (2026-03-07 09:00 UTC)",
        id="future",
    ),
    pytest.param(
        [{**row, "closed_at": day(-1)} if row["outcome"] else row for row in paired(0)],
        "closed_at lies in the future: 3 rows (deals.csv line 2 (2026-03-06 09:00 UTC), deals.csv"
        " line 3 (2026-03-06 09:00 UTC), deals.csv line 4 (2026-03-06 09:00 UTC))",
        id="closed in the future",
    ),
    pytest.param(
        [entry("A", QUALIFICATION, day(40)), entry("B", DISCOVERY, day(2))],
        "one row for each deal: that is its current stage, not its history; a current stage cannot"
        " tell how many deals entered a stage and were lost later",
        id="current stages",
    ),
    pytest.param([], "no rows", id="no rows"),
    pytest.param(
        [{**row, "entered_at": row["entered_at"] - timedelta(days=20)} for row in good_rows()],
        "the newest row is of 2026-02-11, 22 days ago, and stale_days is 14: stale extract?",
        id="stale",
    ),
    pytest.param(
        changed(good_rows(), 1, amount=400),
        "column 'amount': no such column; there are opportunity_id, stage_id, stage, pipeline,"
        " entered_at, outcome, closed_at: deals.csv line 3",
        id="unknown column",
    ),
    pytest.param(
        changed(good_rows(), 1, entered_at=...), "no column entered_at: deals.csv line 3",
        id="no instants",
    ),
    pytest.param(
        changed(good_rows(), 1, opportunity_id=...), "no column opportunity_id: deals.csv line 3",
        id="no deals",
    ),
    pytest.param(
        changed(good_rows(), 1, stage_id=...),
        "no column says which stage was entered: stage_id, or stage: deals.csv line 3",
        id="no stages",
    ),
    pytest.param(
        changed(good_rows(), 1, entered_at=..., EnteredAt=day(20), entered_AT=day(20)),
        "column 'entered_AT' is there twice: deals.csv line 3",
        id="column twice",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "words"), REFUSED)
def test_a_history_is_refused_with_words(rows: list[Row], words: str) -> None:
    """What is wrong and where, in one line."""
    assert words in refusal(rows)
    assert len(words.splitlines()) == 1


def test_a_good_history_is_not_refused() -> None:
    """What the table above changes is what is refused there."""
    assert len(judged(placed(good_rows())).deals) == 2
    assert len(judged(placed(with_pair(good_rows()))).deals) == 2


def test_everything_wrong_is_said_at_once() -> None:
    """Each kind of error once, and the errors of the whole history too."""
    rows = [
        *changed(paired(1, outcome="open"), 3, entered_at="soon"),
        entry("C", DISCOVERY, day(-9)),
    ]
    found = refusal(rows)
    assert [text.split(":")[0] for text in found] == [
        "outcome is neither won nor lost",
        "entered_at is no instant such as 2026-03-05T14",
        "entered_at lies in the future",
    ]


def test_a_refusal_counts_rows_and_names_up_to_five() -> None:
    """A hundred thousand wrong rows are one line."""
    rows = [{**row, "entered_at": row["entered_at"].replace(tzinfo=None)} for row in good_rows()]
    [found] = refusal([*rows, *changed(rows, 0, opportunity_id="C")])
    assert found == (
        'entered_at has no time zone: give time_zone, such as "Europe/Berlin": 10 rows'
        " (deals.csv line 2, deals.csv line 3, deals.csv line 4, deals.csv line 5,"
        " deals.csv line 6, …)"
    )


def test_a_refusal_is_one_line_however_much_is_wrong() -> None:
    """The first twenty kinds of error, and how many there are besides."""
    rows = [changed(good_rows(), 1, stage_id=f"A{number}")[1] for number in range(30)]
    with pytest.raises(HistoryRefused) as caught:
        judged([*good_rows(), *rows])
    assert len(caught.value.errors) == 30
    assert str(caught.value).startswith("The history of deals is refused: stage_id = 'A0': not a")
    assert str(caught.value).endswith("; and 10 more")


def test_a_row_without_a_place_is_named_by_its_number() -> None:
    """Rows of a query are counted from 1."""
    with pytest.raises(HistoryRefused, match=r"opportunity_id is blank: row 2$"):
        judged(changed(good_rows(), 1, opportunity_id=None))


def test_a_row_of_blanks_is_no_row() -> None:
    """Spreadsheets end in them."""
    blank = dict.fromkeys(good_rows()[0], " ")
    assert judged([*good_rows(), blank]).rows == len(good_rows())


def test_a_row_that_knows_no_columns_is_refused() -> None:
    """A plain tuple of a cursor could mean anything."""
    rows: list[Any] = [*good_rows(), ("A", "Discovery")]
    with pytest.raises(HistoryRefused, match="a row that does not know its columns: row 6"):
        judged(rows)


SPELLINGS: list[Any] = [
    pytest.param(str.upper, id="Snowflake"),
    pytest.param(lambda name: name.title().replace("_", ""), id="Pascal"),
]


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_columns_are_known_in_any_case(spelled: Callable[[str], str]) -> None:
    """Warehouses write them as they like."""
    rows = [{spelled(name): value for name, value in row.items()} for row in with_pair(good_rows())]
    assert judged(rows) == judged(with_pair(good_rows()))


INSTANTS: list[Any] = [
    pytest.param("2026-02-01T09:00:00+01:00", id="ISO text"),
    pytest.param(" 2026-02-01 08:00:00Z ", id="text with a space"),
    pytest.param(pd.Timestamp("2026-02-01 09:00", tz="Europe/Berlin"), id="pandas"),
    pytest.param(pd.Timestamp("2026-02-01 09:00:00.000000001"), id="naive pandas"),
    pytest.param(day(32).replace(tzinfo=None), id="naive"),
    pytest.param("2026-02-01T09:00", id="naive text"),
]


@pytest.mark.parametrize("value", INSTANTS)
def test_an_instant_may_be_written_in_many_ways(value: Any) -> None:
    """With an offset, or read by the clocks of `time_zone`."""
    history = judged(changed(good_rows(), 1, entered_at=value), time_zone="Europe/Berlin")
    assert history.deals[0].events[1].at == datetime(2026, 2, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("value", [date(2026, 2, 1), "2026-02-01"], ids=["date", "text"])
def test_a_date_is_its_first_moment(value: Any) -> None:
    """Where the clocks of `time_zone` show it."""
    history = judged(changed(good_rows(), 1, entered_at=value), time_zone="Europe/Berlin")
    assert history.deals[0].events[1].at == datetime(2026, 1, 31, 23, tzinfo=UTC)


def test_stages_may_be_given_by_name() -> None:
    """As they are called now, and by their pipeline where a name is not enough."""
    stages = [*STAGES, *funnel(0.3, 0.6, pipeline=RENEWALS)]
    names = {str(one.id): one.name for one in STAGES}
    rows = [
        {**row, "stage_id": None, "stage": names[row["stage_id"]], "pipeline": str(NEW_BUSINESS)}
        for row in good_rows()
    ]
    assert judged(rows, stages) == judged(good_rows(), stages)
    called = [{**row, "pipeline": "New Business"} for row in rows]
    assert judged(called, stages, pipelines={"New Business": NEW_BUSINESS}).deals
    with pytest.raises(HistoryRefused, match="stage = 'Won': 2 stages are called that"):
        judged([{**row, "pipeline": None} for row in rows], stages)


def test_a_former_name_may_be_given() -> None:
    """The history knows what a stage was called when a deal entered it."""
    rows = changed(good_rows(), 1, stage_id=None, stage="Needs Analysis")
    renamed = {"Needs Analysis": "Discovery"}
    assert judged(rows, renamed=renamed) == judged(good_rows())


def test_rows_of_deleted_stages_may_be_ignored_where_outcomes_are_given() -> None:
    """They are counted; the pair still says what became of the deal."""
    rows = paired(1, stage_id=UNKNOWN)
    history = judged(rows, unknown_stages="ignore")
    assert (history.rows, history.ignored) == (5, 1)
    assert [event.outcome for event in history.deals[0].events] == [None, "won"]


def test_rows_of_deleted_stages_are_not_ignored_without_outcomes() -> None:
    """A deal that was lost into a deleted stage would look open."""
    [found] = refusal(changed(good_rows(), 2, stage_id=UNKNOWN), unknown_stages="ignore")
    assert found.startswith('unknown_stages="ignore" takes the columns outcome and closed_at')


def test_a_wrong_id_is_refused_even_where_unknown_stages_are_ignored() -> None:
    """It names no deleted stage; it is a slip."""
    rows = paired(1, stage_id="Discovery")
    assert refusal(rows, unknown_stages="ignore")[0].startswith("stage_id = 'Discovery': not a")


def test_what_is_known_ends_with_the_newest_row() -> None:
    """A late load does not look like stalled deals."""
    assert judged(good_rows()).as_of == day(2)
    assert judged(with_pair(good_rows()[:4])).as_of == day(3)


def test_with_as_of_a_history_is_never_stale() -> None:
    """Whoever asks about the past knows that it is past; later rows are not known yet."""
    old = [{**row, "entered_at": row["entered_at"] - timedelta(days=400)} for row in good_rows()]
    assert judged(old, as_of=day(401)).as_of == day(401)


def test_no_row_in_the_window_is_refused() -> None:
    """Nothing could be said of any stage."""
    [found] = refusal(good_rows(), as_of=day(900))
    assert found == "no row in the window from 2022-03-26 to 2023-09-17"


def test_an_as_of_in_the_future_is_refused() -> None:
    """Nobody knows that yet, and every open deal would look older than it is."""
    assert refusal(good_rows(), as_of=day(-3)) == (
        "as_of lies in the future: 2026-03-08 09:00 UTC",
    )


def test_at_one_instant_a_closing_comes_last() -> None:
    """Dates always tie; the stage before the closing is no re-opening."""
    rows = [entry("A", WON, day(5)), entry("A", PROPOSAL, day(5)), *good_rows()[3:]]
    [deal, _] = judged(rows).deals
    assert [event.outcome for event in deal.events] == [None, "won"]
    assert not was_reopened(deal.events)


def test_a_deal_that_enters_a_stage_after_its_closing_is_open_again() -> None:
    """Until it is closed again."""
    rows = [*good_rows(), entry("A", PROPOSAL, day(2.5))]
    [deal, _] = judged(rows).deals
    assert was_reopened(deal.events)
    assert deal.events[-1].stage_id == PROPOSAL.id
    [deal, _] = judged([*rows, entry("A", LOST, day(2.2))]).deals
    assert deal.events[-1].outcome == "lost"


def test_a_closing_stage_may_be_entered_after_the_closing() -> None:
    """A close date is often dated back to the signature; the pair counts."""
    rows = [
        {**row, "closed_at": day(4)} if row["outcome"] else row for row in with_pair(good_rows())
    ]
    [deal, _] = judged(rows).deals
    assert deal.events[-1] == (day(4), None, "won")


def test_order_of_rows_does_not_matter() -> None:
    """A query without ORDER BY gives them in any."""
    rows = simulated(5, (0.3, 0.5, 0.8), deals=50)
    one, other = judged(rows), judged(rows[::-1])
    assert sorted(deal.events for deal in one.deals) == sorted(deal.events for deal in other.deals)


def test_an_unknown_time_zone_is_refused() -> None:
    """With the other options that cannot be."""
    with pytest.raises(HistoryRefused) as caught:
        judged(good_rows(), time_zone="Europe/Berln", min_known=0)
    assert caught.value.errors == (
        "min_known = 0: should be at least 1",
        "time_zone = 'Europe/Berln': no such time zone",
    )


OPTIONS: list[Any] = [
    ({"window_days": 300}, "window_days = 300: shorter than horizon_days = 365, so no deal"),
    ({"horizon_days": 0}, "horizon_days = 0: should be from 1 to 3650"),
    ({"window_days": 40_000}, "window_days = 40000: should be from 1 to 36500"),
    ({"prior_weight": -1}, "prior_weight = -1: should be at least 0"),
    ({"confidence": 1.0}, "confidence = 1.0: should lie between 0 and 1"),
    ({"confidence": float("nan")}, "confidence = nan: should lie between 0 and 1"),
    ({"min_change": 2}, "min_change = 2: should be from 0 to 1"),
    ({"stale_days": 0}, "stale_days = 0: should be above 0"),
    ({"unknown_stages": "skip"}, "unknown_stages = 'skip': should be refuse or ignore"),
    ({"as_of": day(9).replace(tzinfo=None)}, "as_of = 2026-02-24T09:00:00: no time zone"),
]


@pytest.mark.parametrize(("options", "words"), OPTIONS, ids=[words[:24] for _, words in OPTIONS])
def test_an_option_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    """In one line, before any row is read."""
    with pytest.raises(HistoryRefused) as caught:
        judged(good_rows(), **options)
    assert caught.value.errors[0].startswith(words)


def test_a_stage_without_a_pipeline_takes_part() -> None:
    """Some documented answers leave the pipeline out."""
    alone = stage("Alone", 0.5, pipeline=None)
    rows = [entry("C", alone, day(3)), entry("C", alone, day(2))]
    assert len(judged([*good_rows(), *rows], [*STAGES, alone]).deals) == 3


def test_nothing_in_closed_deals_is_open() -> None:
    """Only open stages are entered; won and lost ones are closings."""
    [deal, _] = judged(good_rows()).deals
    assert [event.stage_id for event in deal.events] == [QUALIFICATION.id, DISCOVERY.id, None]
    assert deal.events[-1].at == day(3)
