"""A stage may be given by what it is called now: exactly one, or an error, never a guess."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from prefect_ruddr import InvalidStageUpdates, SourceRow, Stage, StageUpdate
from prefect_ruddr.runs.intake import intake
from prefect_ruddr.stages.names import MOST_SUGGESTIONS, StageName, StageNames
from prefect_ruddr.stages.pipelines import PipelineNames

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
BY_ID = {found.id: found for found in LIVE}


def problem(stages: list[Stage], name: str, pipeline: UUID | None = None) -> str:
    """Return why no stage is found."""
    with pytest.raises(InvalidStageUpdates) as raised:
        StageNames(stages).find(StageName(stage=name, pipeline=pipeline))
    (error,) = raised.value.errors
    assert error.startswith(f"stage = {name!r}: ")
    return error.removeprefix(f"stage = {name!r}: ")


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
            + " and 2 more: give pipeline, or the id",
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
def test_a_doubt_is_an_error_that_says_what_would_settle_it(
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
    ("row", "error"),
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
            "pipeline = 'Sales': not a UUID",
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
def test_a_row_by_name_is_judged_before_anything_is_read(row: Any, error: str) -> None:
    """What can be known without the workspace is said without it."""
    judged = intake([row])
    assert judged.errors[0].startswith(error)
    judged.compare(BY_ID)
    assert judged.updates == []


def test_rows_find_their_stages_by_name() -> None:
    """The name that a row sets is the new one; `stage` is the one of now."""
    judged = intake([{"stage": "Negotiation", "name": "Terms"}, {"id": B, "probability": 1}])
    assert judged.by_name
    assert judged.stage_ids == [UUID(B)]
    judged.compare(BY_ID)
    assert [str(update.id) for update in judged.updates] == [A, B]
    assert judged.updates[0].fields == {"name": "Terms"}
    assert judged.errors == {}


def test_a_row_whose_stage_is_not_found_shows_the_name_that_was_typed() -> None:
    """Not an empty cell."""
    judged = intake([{"stage": "Negotation", "probability": 0.5}])
    judged.compare(BY_ID)
    assert judged.rows[0].outcome.stage_name == "Negotation"
    unknown = intake([{"stage": "Won", "pipeline": "Sales", "probability": 0.5}])
    assert unknown.rows[0].outcome.stage_name == "Won"
    assert judged.errors == {
        0: "stage = 'Negotation': no stage is called that; the closest: 'Negotiation'"
    }


def test_names_are_looked_up_for_wrong_rows_too() -> None:
    """A value out of range hides no wrong name, neither of its own row nor of another."""
    judged = intake(
        [
            {"stage": "Negotation", "probability": 1.5},
            {"stage": "Won", "probability": 0.5},
            {"id": str(UUID(int=9)), "probability": 2},
        ]
    )
    judged.compare(BY_ID)
    assert [text.split(":")[0] for text in judged.errors[0].split("; ")] == [
        "probability = 1.5",
        "stage = 'Negotation'",
        "the closest",
    ]
    assert judged.errors[1].startswith("stage = 'Won': 2 stages are called that")
    assert judged.errors[2].endswith(f"id = {UUID(int=9)}: the workspace has no such stage")


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
    assert judged.errors == {}
    judged.compare(BY_ID)
    assert judged.errors == dict.fromkeys([0, 2], f"id = {A}: updates 1, 3 are all about it")
    assert len(judged.updates) == 2


def test_rows_about_one_stage_are_named_by_their_places() -> None:
    """As many as a person will look at."""
    update = StageUpdate.model_validate({"id": A, "probability": 1})
    judged = intake([SourceRow(update, f"stages.csv line {line}") for line in range(2, 9)])
    assert set(judged.errors.values()) == {
        f"id = {A}: stages.csv line 2, stages.csv line 3, stages.csv line 4, stages.csv line 5,"
        " stages.csv line 6 and 2 more are all about it"
    }


NAMES: dict[str, UUID | str] = {"Sales": SALES, "Renewals": str(RENEWALS)}


def test_a_pipeline_may_be_given_by_what_somebody_calls_it() -> None:
    """The one that a stage is in, and the one that it shall be in."""
    judged = intake(
        [
            {"stage": "Won", "pipeline": "Renewals", "probability": 1},
            {"id": A, "opportunityPipelineId": "Renewals"},
        ],
        PipelineNames(NAMES),
    )
    judged.compare(BY_ID)
    assert judged.errors == {}
    assert [str(update.id) for update in judged.updates] == [C, A]
    assert judged.updates[1].fields == {"opportunity_pipeline_id": str(RENEWALS)}


@pytest.mark.parametrize(
    ("names", "said", "error"),
    [
        pytest.param(NAMES, "Renewal", "did you mean 'Renewals'?", id="misspelt"),
        pytest.param(NAMES, "zzz", "there are 'Sales', 'Renewals'", id="like none"),
        pytest.param({}, "Sales", "not a UUID, and no pipeline has a name here", id="no names"),
        pytest.param(NAMES, 7, "not a UUID", id="no text"),
    ],
)
@pytest.mark.parametrize(
    "row",
    [
        {"stage": "Won", "probability": 1, "pipeline": ...},
        {"id": A, "opportunity_pipeline_id": ...},
    ],
    ids=["pipeline", "opportunity_pipeline_id"],
)
def test_an_unknown_pipeline_says_what_it_may_mean(
    names: dict[str, Any], said: Any, error: str, row: dict[str, Any]
) -> None:
    """One error, whichever field it is in."""
    if said == 7 and "id" in row:
        error = "UUID"
    field = next(field for field, value in row.items() if value is ...)
    judged = intake([row | {field: said}], PipelineNames(names))
    assert judged.errors[0].startswith(f"{field} = {said!r}: ")
    assert error in judged.errors[0]
    assert ";" not in judged.errors[0].replace("; did you", "").replace("; there are", "")


def test_errors_call_pipelines_by_their_names() -> None:
    """Where somebody has given them names."""
    judged = intake(
        [
            {"stage": "Won", "probability": 1},
            {"stage": "Due", "pipeline": "Sales", "probability": 1},
        ],
        PipelineNames(NAMES),
    )
    judged.compare(BY_ID)
    assert "in pipelines Sales, Renewals: give pipeline" in judged.errors[0]
    assert judged.errors[1].startswith("stage = 'Due': no stage in pipeline Sales is called that")


@pytest.mark.parametrize(
    ("names", "error"),
    [
        pytest.param({"Sales": "b9"}, "pipelines: 'Sales' = 'b9': not a UUID", id="no UUID"),
        pytest.param({" ": str(SALES)}, "pipelines: ' ': not a name", id="blank"),
        pytest.param({A: str(SALES)}, f"pipelines: '{A}': not a name", id="a UUID as a name"),
    ],
)
def test_names_of_pipelines_have_to_be_names_of_ids(names: dict[str, str], error: str) -> None:
    """Before any row is looked at."""
    with pytest.raises(InvalidStageUpdates) as raised:
        PipelineNames(names)
    assert raised.value.errors == (error,)


def test_a_name_stands_for_one_pipeline() -> None:
    """Where two places name pipelines."""
    names = PipelineNames(NAMES)
    assert names.also(PipelineNames({"Sales": SALES, "Other": SALES})).find("Other") == SALES
    with pytest.raises(InvalidStageUpdates, match=r"but it is .* elsewhere"):
        names.also(PipelineNames({"Sales": RENEWALS}))
