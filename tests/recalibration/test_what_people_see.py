"""A table, sentences and two pictures: what a person reads before approving."""

from __future__ import annotations

import io
import sys
from functools import cache

import pytest
from PIL import Image

from prefect_ruddr.errors import ExtraMissing
from prefect_ruddr.recalibration.pictures import change_picture, reliability_picture
from prefect_ruddr.recalibration.result import Recalibration
from prefect_ruddr.recalibration.table import backtest_sentences, finding, stage_labels, stage_rows
from recalibration.histories import (
    NEW_BUSINESS,
    RENEWALS,
    STAGES,
    funnel,
    recalibration,
    renewals,
    simulated,
    stage,
)

CALLED = {"New Business": NEW_BUSINESS, "Renewals": RENEWALS}


@cache
def two_pipelines() -> Recalibration:
    """Return a recalibration with changed, agreed and left-alone stages."""
    stages = [*funnel(0.3, 0.7, 0.8), *funnel(0.4, 0.9, pipeline=RENEWALS)]
    few = simulated(1, (0.5, 0.7), deals=12, stages=stages[5:])
    rows = [*simulated(1, (0.3, 0.5, 0.8), deals=900), *renewals(few)]
    return recalibration(rows, stages, pipelines=CALLED)


def test_the_table_puts_what_is_decided_first_and_ids_last() -> None:
    """Prefect's UI cuts a table after four or five columns."""
    row = stage_rows(two_pipelines())[1]
    assert list(row) == [
        "stage", "old", "proposed", "decision", "reason", "interval", "entered", "won", "lost",
        "open", "known fates", "pipeline", "stage_id", "pipeline_id",
    ]  # fmt: skip
    assert row | {"reason": "", "interval": ""} == {
        "stage": "Discovery (New Business)",
        "old": "0.70",
        "proposed": "0.5216",
        "decision": "changed",
        "reason": "",
        "interval": "",
        "entered": 298,
        "won": 98,
        "lost": 131,
        "open": 69,
        "known fates": 229,
        "pipeline": "New Business",
        "stage_id": str(STAGES[1].id),
        "pipeline_id": str(NEW_BUSINESS),
    }


def test_the_table_has_a_row_for_every_stage() -> None:
    """Those that are left alone too."""
    found = two_pipelines()
    rows = stage_rows(found)
    assert [row["stage_id"] for row in rows] == [str(one.stage_id) for one in found.stages]
    assert {row["decision"] for row in rows} == {"agrees", "changed", "too few", "fixed"}
    assert all((row["decision"] == "changed") == (row["proposed"] != "") for row in rows)


def test_stages_of_one_name_are_told_apart() -> None:
    """By their pipeline; by the id's beginning where nobody gave it a name."""
    labels = stage_labels(two_pipelines())
    assert labels[:3] == ["Qualification (New Business)", "Discovery (New Business)", "Proposal"]
    unnamed = recalibration(
        simulated(1, (0.3, 0.5, 0.8)), [*STAGES, *funnel(0.4, pipeline=RENEWALS)]
    )
    assert "Qualification (pipeline 19488dec)" in stage_labels(unnamed)


def test_the_backtest_is_a_sentence_with_its_figures() -> None:
    """Better or not, by how much, how sure, and what became of the open deals."""
    [first, second] = backtest_sentences(two_pipelines())
    assert first == (
        "New Business, tested on the deals since 2025-03-05: the new numbers do clearly better"
        " (Brier 0.226 before, 0.214 after: -0.012 with a standard error of 0.005; of it"
        " reliability 0.012 before, 0.001 after, resolution 0.035, uncertainty 0.248; log loss"
        " 0.644 before, 0.619 after). Open at the beginning: 89, of which the old numbers expected"
        " to win 47, the new ones 40; won since: 59."
    )
    assert second.startswith(
        "Renewals, tested on the deals since 2025-03-05: nothing would have been changed then"
    )


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        ((0.3, 0.5, 0.8), "None of 3 open stages changes"),
        ((0.3, 0.7, 0.8), "1 of 3 open stages changes"),
        ((0.6, 0.7, 0.95), "3 of 3 open stages change"),
    ],
    ids=["none", "one", "all"],
)
def test_the_finding_is_a_sentence(probabilities: tuple[float, ...], words: str) -> None:
    """It is the title of the picture."""
    rows = simulated(1, (0.3, 0.5, 0.8), deals=900)
    assert finding(recalibration(rows, funnel(*probabilities))) == words


def test_a_recalibration_is_data() -> None:
    """It crosses to another process and comes back from JSON."""
    found = two_pipelines()
    assert Recalibration.model_validate_json(found.model_dump_json()) == found


def image(png: bytes | None) -> Image.Image:
    """Open a picture."""
    assert png is not None
    return Image.open(io.BytesIO(png))


def colours(png: bytes | None) -> set[str]:
    """Return the colours of which there is much in a picture."""
    counted = image(png).convert("RGB").getcolors(2**24) or []
    return {
        "#{:02x}{:02x}{:02x}".format(*colour)
        for count, colour in counted
        if count > 60 and isinstance(colour, tuple)
    }


UP, DOWN, GREY = "#1d5fa8", "#c2540a", "#9aa5b1"


def test_the_picture_of_changes_shows_them_in_colour_and_the_rest_in_grey() -> None:
    """Down in orange; where nothing changes there is no colour."""
    found = two_pipelines()
    assert {DOWN, GREY} <= colours(change_picture(found))
    assert UP not in colours(change_picture(found))
    quiet = recalibration(simulated(1, (0.3, 0.5, 0.8), deals=900), funnel(0.3, 0.5, 0.8))
    assert not {UP, DOWN} & colours(change_picture(quiet))
    low = recalibration(simulated(1, (0.3, 0.5, 0.8), deals=900), funnel(0.1, 0.3, 0.6))
    assert UP in colours(change_picture(low))


def test_the_picture_of_reliability_shows_the_new_numbers_in_colour() -> None:
    """And today's as open circles."""
    assert UP in colours(reliability_picture(two_pipelines()))


def test_a_picture_is_as_wide_as_it_is_shown_and_the_same_each_time() -> None:
    """Sharp at 900 pixels, higher with each stage, and small enough for an artifact."""
    small, large = two_pipelines(), many_stages(20)
    for picture in (change_picture, reliability_picture):
        first = picture(small)
        assert first == picture(small)
        assert image(first).width == 1440
        assert len(first or b"") < 400_000
    assert image(change_picture(small)).height < image(change_picture(large)).height


def many_stages(number: int) -> Recalibration:
    """Return a recalibration of a pipeline with many stages that no deal entered."""
    more = [
        stage(f"Stage ${one} of a long $name that no column holds", 0.5) for one in range(number)
    ]
    return recalibration(simulated(1, (0.3, 0.5, 0.8), deals=900), [*STAGES, *more])


def test_the_picture_of_a_big_workspace_stays_a_picture() -> None:
    """It shows the stages that change and those with most deals, and says what is left out."""
    assert (
        image(change_picture(many_stages(37))).height
        == image(change_picture(many_stages(200))).height
    )


def test_without_a_backtest_there_is_no_picture_of_it() -> None:
    """A short history says nothing about a year ago."""
    found = recalibration(simulated(1, (0.3, 0.5, 0.8), days=200))
    assert reliability_picture(found) is None
    assert image(change_picture(found)).width == 1440


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries are loaded when they are used."""
    found = two_pipelines()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "statsmodels.duration.survfunc", None)
    install = r"pip install 'prefect-ruddr\[recalibration\]'"
    with pytest.raises(ExtraMissing, match=rf"^Pictures need matplotlib: {install}$"):
        change_picture(found)
    with pytest.raises(ExtraMissing, match=rf"^Recalibrating needs statsmodels: {install}$"):
        recalibration(simulated(1, (0.3, 0.5, 0.8)))
