"""A plan and a report read well: printed, in a terminal, in a notebook."""

from __future__ import annotations

import io
from uuid import UUID

from rich.console import Console

from prefect_ruddr import StageOutcome, StagePlan, StageReport, Workspace
from prefect_ruddr.stages.plan import FieldChange, StageChange

ID = UUID("a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19")
CHANGE = StageChange(
    stage_id=ID,
    stage_name="Negotiation",
    pipeline="New Business",
    fields=(
        FieldChange(field="probability", before=0.75, after=0.8),
        FieldChange(field="description", before="Terms.", after=None),
    ),
)
PLAN = StagePlan(workspace=Workspace(id=ID, name="Acme"), changes=(CHANGE,), unchanged=(ID,))

PRINTED = f"""\
Plan {PLAN.digest}: 1 would change, 1 unchanged in Acme
  Negotiation (New Business)  would change
    probability  0.75 → 0.8
    description  Terms. → (none)"""


def test_a_plan_is_printed_as_a_diff() -> None:
    """`print` shows what a person has to know."""
    assert str(PLAN) == PRINTED


def test_a_terminal_and_a_notebook_show_it_in_colours() -> None:
    """`rich.print` and Jupyter find what they look for."""
    screen = io.StringIO()
    Console(file=screen, force_terminal=True, color_system="standard").print(PLAN)
    assert "\x1b[31m0.75" in screen.getvalue()
    assert "\x1b[32m0.8" in screen.getvalue()
    assert "<pre" in PLAN._repr_mimebundle_()["text/html"]


def test_a_long_diff_is_cut_and_says_so() -> None:
    """The log of a run shows the first stages and counts the others."""
    long = PLAN.model_copy(update={"changes": (CHANGE,) * 5})
    assert long.diff(most=2).plain.endswith("  … and 3 more")
    assert str(long).count("would change") == 6


def test_of_long_texts_the_part_is_shown_where_they_differ() -> None:
    """A word that changes in the middle of a page is seen."""
    same = "The buyer has seen our proposal and has asked for terms. " * 3
    before, after = f"{same}Legal reads the draft.", f"{same}Legal has signed it. {same}"
    change = FieldChange(field="description", before=before, after=after)
    (line,) = str(PLAN.model_copy(update={"changes": (only(change),)})).splitlines()[2:]
    assert line.endswith("has asked for terms. Legal reads the draft. → …" + line.split(" → …")[1])
    assert "Legal has signed it. The buyer" in line
    assert all(len(text) <= 60 for text in line.removeprefix("    description  ").split(" → "))


def test_a_long_text_beside_none_is_shown_from_its_beginning() -> None:
    """There is nothing that it could differ from."""
    change = FieldChange(field="description", before=None, after="A word. " * 20)
    assert "(none) → A word. A word." in str(PLAN.model_copy(update={"changes": (only(change),)}))


def only(field: FieldChange) -> StageChange:
    return CHANGE.model_copy(update={"fields": (field,)})


def test_a_report_shows_what_did_not_work_first() -> None:
    """And each with its reason."""
    report = StageReport(
        outcomes=(
            StageOutcome.updated(CHANGE, attempts=1),
            StageOutcome.of(CHANGE, "conflict", "it was edited"),
            StageOutcome(outcome="unchanged", stage_id=ID),
        ),
        warnings=("Look again.",),
    )
    lines = str(report).splitlines()
    assert lines[0] == "1 conflict, 1 updated, 1 unchanged"
    assert lines[1] == "  Negotiation (New Business)  conflict"
    assert lines[4] == "    it was edited"
    assert lines[5] == "  Negotiation (New Business)  updated"
    assert lines[-1] == "  Look again."


def test_a_name_cannot_play_tricks_in_a_terminal() -> None:
    """Escapes and line breaks of a live name are made harmless."""
    evil = CHANGE.model_copy(update={"stage_name": "Won\n\x1b[2J", "pipeline": None})
    text = str(PLAN.model_copy(update={"changes": (evil,)}))
    assert "\x1b" not in text
    assert len(text.splitlines()) == 4
