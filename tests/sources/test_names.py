"""A stage may be given by what it is called now: exactly one, or a violation, never a guess."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from prefect_ruddr import InvalidStageUpdates, SourceRow, Stage, StageUpdate
from prefect_ruddr.runs.intake import intake
from prefect_ruddr.stages.names import MOST_SUGGESTIONS, StageName, StageNames

from .files import A, B, C

SALES, RENEWALS = UUID(int=1), UUID(int=2)


def stage(name: str, pipeline: UUID | None = SALES, stage_id: str | None = None) -> Stage:
    """Return a live stage."""
    return Stage(
        id=UUID(stage_id) if stage_id else uuid4(),
        name=name,
        description=None,
        probability=0.5,
        status_id="open",
        is_active=True,
        opportunity_pipeline_id=pipeline,
        created_at=datetime(2025, 2, 10, tzinfo=UTC),
    )


LIVE = [
    stage("Negotiation", SALES, A),
    stage("Won", SALES, B),
    stage("Won", RENEWALS, C),
    stage("Renewal Due", RENEWALS),
]


def problem(stages: list[Stage], name: str, pipeline: UUID | None = None) -> str:
    """Return why no stage is found."""
    with pytest.raises(InvalidStageUpdates) as raised:
        StageNames(stages).find(StageName(stage=name, pipeline=pipeline))
    (violation,) = raised.value.violations
    assert violation.startswith(f"stage = {name!r}: ")
    return violation.removeprefix(f"stage = {name!r}: ")


def test_a_name_that_one_stage_has_is_that_stage() -> None:
    """In the whole workspace."""
    assert StageNames(LIVE).find(StageName(stage="Negotiation")).id == UUID(A)


@pytest.mark.parametrize(("pipeline", "stage_id"), [(SALES, B), (RENEWALS, C)])
def test_a_pipeline_tells_stages_of_one_name_apart(pipeline: UUID, stage_id: str) -> None:
    """Most pipelines end in the same names."""
    assert StageNames(LIVE).find(StageName(stage="Won", pipeline=pipeline)).id == UUID(stage_id)


@pytest.mark.parametrize(
    ("stages", "name", "pipeline", "expected"),
    [
        pytest.param(
            LIVE,
            "Won",
            None,
            f"2 stages are called that, in pipelines {SALES}, {RENEWALS}: give pipeline, or the id",
            id="in two pipelines",
        ),
        pytest.param(
            [stage("Won"), stage("Won")],
            "Won",
            SALES,
            "2 stages are called that: give the id",
            id="twice in one pipeline",
        ),
        pytest.param(
            [stage("Won"), stage("Won", RENEWALS), stage("Won", RENEWALS)],
            "Won",
            None,
            f"3 stages are called that, in pipelines {SALES}, {RENEWALS}: give the id",
            id="a pipeline would not be enough",
        ),
        pytest.param(
            [stage("Won", UUID(int=number)) for number in range(1, 8)],
            "Won",
            None,
            "7 stages are called that, in pipelines "
            + ", ".join(str(UUID(int=number)) for number in range(1, 6))
            + ", …: give pipeline, or the id",
            id="in many pipelines",
        ),
        pytest.param(
            LIVE,
            "Negotation",
            None,
            "no stage is called that; the closest: 'Negotiation'",
            id="misspelt",
        ),
        pytest.param(
            LIVE, "won", None, "no stage is called that; the closest: 'Won'", id="another case"
        ),
        pytest.param(
            LIVE, "Won ", None, "no stage is called that; the closest: 'Won'", id="a space more"
        ),
        pytest.param(LIVE, "Zzz", None, "no stage is called that", id="nothing like it"),
        pytest.param([], "Won", None, "no stage is called that", id="no stages at all"),
        pytest.param(
            LIVE,
            "Renewal Duo",
            RENEWALS,
            f"no stage in pipeline {RENEWALS} is called that; the closest: 'Renewal Due'",
            id="misspelt in a pipeline",
        ),
        pytest.param(
            LIVE,
            "Renewal Due",
            SALES,
            f"no stage in pipeline {SALES} is called that",
            id="in another pipeline",
        ),
        pytest.param(
            [stage("Won", None)],
            "Won",
            SALES,
            "Ruddr does not say which pipeline it is in: give the id",
            id="pipelines left out",
        ),
        pytest.param(
            [stage("Won", None), stage("Won", SALES)],
            "Won",
            SALES,
            "Ruddr does not say which pipeline it is in: give the id",
            id="one pipeline left out",
        ),
    ],
)
def test_a_doubt_is_a_violation_that_says_what_would_settle_it(
    stages: list[Stage], name: str, pipeline: UUID | None, expected: str
) -> None:
    """Nothing is guessed, not even from a single candidate."""
    assert problem(stages, name, pipeline) == expected


def test_only_so_many_unknown_names_are_compared_with_all_others() -> None:
    """A file for another workspace fails in seconds, not in hours."""
    names = StageNames(LIVE)
    said = []
    for number in range(MOST_SUGGESTIONS + 1):
        with pytest.raises(InvalidStageUpdates) as raised:
            names.find(StageName(stage=f"Negotiation {number}"))
        said.append("the closest" in str(raised.value))
    assert said == [True] * MOST_SUGGESTIONS + [False]


@pytest.mark.parametrize(
    ("row", "violation"),
    [
        pytest.param(
            {"id": A, "stage": "Won", "probability": 1},
            "id and stage: give the id alone, or the stage's name and pipeline",
            id="both",
        ),
        pytest.param(
            {"id": A, "pipeline": str(SALES), "probability": 1},
            "id and pipeline: give the id alone, or the stage's name and pipeline",
            id="id and pipeline",
        ),
        pytest.param({"pipeline": str(SALES), "name": "x"}, "stage: missing", id="pipeline alone"),
        pytest.param(
            {"stage": None, "name": "x"}, "stage = None: Input should be a valid string", id="null"
        ),
        pytest.param(
            {"stage": "Won", "pipeline": "Sales", "name": "x"},
            "pipeline = 'Sales': Input should be a valid UUID",
            id="pipeline by name",
        ),
        pytest.param(
            {"stage": "Won", "probability": 1.5},
            "probability = 1.5: Input should be less than or equal to 1",
            id="a limit of a field",
        ),
        pytest.param({"stage": "Won"}, "no field to set", id="nothing to set"),
    ],
)
def test_a_row_by_name_is_judged_before_anything_is_read(row: Any, violation: str) -> None:
    """What can be known without the workspace is said without it."""
    judged = intake([row])
    assert judged.violations[0].startswith(violation)
    assert (judged.updates, judged.names) == ({}, {})


def test_rows_find_their_stages_by_name() -> None:
    """The name that a row sets is the new one; `stage` is the one of now."""
    judged = intake([{"stage": "Negotiation", "name": "Terms"}, {"id": B, "probability": 1}])
    assert judged.stage_id(0) is None
    judged.find_by_name(LIVE)
    assert [str(update.id) for update in judged.updates.values()] == [A, B]
    assert judged.updates[0].fields == {"name": "Terms"}
    assert (judged.names, judged.violations) == ({}, {})


def test_a_stage_given_twice_is_noticed_whichever_way() -> None:
    """By id and by name, or by name with and without its pipeline."""
    judged = intake(
        [
            {"id": A, "probability": 1},
            {"stage": "Won", "pipeline": SALES, "probability": 1},
            {"stage": "Negotiation", "probability": 0.5},
            {"stage": "Renewal Due", "probability": 0.5},
        ]
    )
    assert judged.violations == {}
    judged.find_by_name(LIVE)
    assert list(judged.updates) == [1, 3]
    assert set(judged.violations.values()) == {f"id = {A}: updates 1, 3 are all about it"}


def test_rows_about_one_stage_are_named_by_their_places() -> None:
    """As many as a person will look at."""
    update = StageUpdate.model_validate({"id": A, "probability": 1})
    judged = intake([SourceRow(update, line, "stages.csv line") for line in range(2, 9)])
    assert set(judged.violations.values()) == {
        f"id = {A}: stages.csv line 2, stages.csv line 3, stages.csv line 4, stages.csv line 5,"
        " stages.csv line 6 and 2 more are all about it"
    }
