"""Reading the workspace and its stages."""

from __future__ import annotations

import httpx
import pytest

from prefect_ruddr.sandbox import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID, Sandbox

from .conftest import EXAMPLE, client_of

STAGES = "opportunity-stages"


def names(answer: httpx.Response) -> list[str]:
    return [stage["name"] for stage in answer.json()["results"]]


def ids(answer: httpx.Response) -> list[str]:
    return [stage["id"] for stage in answer.json()["results"]]


def test_the_base_url_is_the_workspace(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """GET of the base URL itself answers with the workspace's id and name."""
    answer = ruddr.get(sandbox.base_url)
    assert answer.status_code == 200
    assert answer.json() == sandbox.workspace
    assert set(answer.json()) == {"id", "name"}


def test_the_documented_example_is_there(ruddr: httpx.Client) -> None:
    """The stage of the vendor's documentation is in the workspace, field by field."""
    answer = ruddr.get(EXAMPLE)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "id": EXAMPLE_STAGE_ID,
        "name": "Negotiation",
        "description": "Terms are being discussed.",
        "probability": 0.75,
        "statusId": "open",
        "isActive": True,
        "opportunityPipelineId": EXAMPLE_PIPELINE_ID,
        "createdAt": "2025-02-10T09:15:42.891Z",
    }


def test_an_id_in_upper_case_is_the_same_stage(ruddr: httpx.Client) -> None:
    """UUIDs are compared without regard to case."""
    answer = ruddr.get(f"{STAGES}/{EXAMPLE_STAGE_ID.upper()}")
    assert answer.json()["id"] == EXAMPLE_STAGE_ID


def test_an_unknown_stage_is_not_found(ruddr: httpx.Client) -> None:
    """A well-formed id that no stage has is 404 with the documented body."""
    answer = ruddr.get(f"{STAGES}/00000000-0000-4000-8000-000000000000")
    assert answer.status_code == 404
    assert answer.json() == {"status": 404, "message": "No opportunity stage has this id."}


def test_a_page_holds_ten_stages_unless_told(ruddr: httpx.Client) -> None:
    """Without a limit a page holds ten stages and says that more follow."""
    answer = ruddr.get(STAGES)
    assert len(answer.json()["results"]) == 10
    assert answer.json()["hasMore"] is True


@pytest.mark.parametrize(
    ("limit", "on_the_page", "has_more"),
    [(1, 1, True), (17, 17, True), (18, 18, False), (100, 18, False)],
)
def test_a_page_holds_what_the_limit_says(
    ruddr: httpx.Client, limit: int, on_the_page: int, has_more: bool
) -> None:
    """The limit is the size of the page; hasMore is false on the last one, full or not."""
    answer = ruddr.get(STAGES, params={"limit": limit})
    assert len(answer.json()["results"]) == on_the_page
    assert answer.json()["hasMore"] is has_more


def test_stages_come_newest_first(ruddr: httpx.Client) -> None:
    """The order is that of createdAt, from the newest to the oldest."""
    created = [stage["createdAt"] for stage in ruddr.get(STAGES).json()["results"]]
    assert created == sorted(created, reverse=True)
    assert len(set(created)) == 10


def test_walking_forward_meets_every_stage_once(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`startingAfter` the last stage seen, while hasMore, gives the whole list in order."""
    seen: list[str] = []
    has_more = True
    while has_more:
        cursor = {"startingAfter": seen[-1]} if seen else {}
        answer = ruddr.get(STAGES, params={"limit": 5, **cursor})
        seen += ids(answer)
        has_more = answer.json()["hasMore"]
    assert seen == [stage["id"] for stage in sandbox.stages]


def test_walking_back_gives_the_page_right_before(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`endingBefore` gives the stages just before the cursor, still newest first."""
    everything = [stage["id"] for stage in sandbox.stages]
    answer = ruddr.get(STAGES, params={"limit": 3, "endingBefore": everything[7]})
    assert ids(answer) == everything[4:7]
    assert answer.json()["hasMore"] is True


def test_walking_back_ends_at_the_newest(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The page before the third stage holds two and nothing follows in that direction."""
    everything = [stage["id"] for stage in sandbox.stages]
    answer = ruddr.get(STAGES, params={"endingBefore": everything[2]})
    assert ids(answer) == everything[:2]
    assert answer.json()["hasMore"] is False


def test_nothing_follows_the_oldest_stage(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The page after the last stage is empty."""
    answer = ruddr.get(STAGES, params={"startingAfter": sandbox.stages[-1]["id"]})
    assert answer.json() == {"results": [], "hasMore": False}


@pytest.mark.parametrize(
    ("name", "count"),
    [("Negotiation", 2), ("negotiation", 0), ("Negotiatio", 0), ("", 0)],
    ids=["the whole name", "other case", "a part", "empty"],
)
def test_a_name_selects_exactly(ruddr: httpx.Client, name: str, count: int) -> None:
    """`name` selects the stages with this very name, in any pipeline."""
    answer = ruddr.get(STAGES, params={"name": name})
    assert names(answer) == [name] * count
    assert answer.json()["hasMore"] is False


def test_a_name_and_a_cursor_go_together(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """A cursor marks a place in the whole list, whatever the name."""
    won = [stage["id"] for stage in sandbox.stages if stage["name"] == "Won"]
    answer = ruddr.get(STAGES, params={"name": "Won", "startingAfter": won[0]})
    assert ids(answer) == won[1:]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("limit=0", "limit: 0 is less than the minimum of 1"),
        ("limit=101", "limit: 101 is greater than the maximum of 100"),
        ("limit=ten", "limit: 'ten' is not of type 'integer'"),
        ("limit=1.5", "limit: '1.5' is not of type 'integer'"),
        ("limit=", "limit: '' is not of type 'integer'"),
        ("limit=5&limit=6", "limit: is given twice"),
        ("startingAfter=1", "startingAfter: '1' is not a 'uuid'"),
        (f"startingAfter={EXAMPLE_STAGE_ID.replace('-', '')}", "is not a 'uuid'"),
        (f"endingBefore={EXAMPLE_STAGE_ID}%7D", "is not a 'uuid'"),
        ("starting_after=1", "starting_after: is no parameter of this call"),
    ],
)
def test_a_query_outside_the_contract_is_refused(
    ruddr: httpx.Client, query: str, text: str
) -> None:
    """A parameter that is out of range, repeated, or unknown is 400 and named."""
    answer = ruddr.get(f"{STAGES}?{query}")
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert text in error


@pytest.mark.parametrize("cursor", ["startingAfter", "endingBefore"])
def test_an_unknown_cursor_is_refused(ruddr: httpx.Client, cursor: str) -> None:
    """A cursor that is no stage of the workspace is 400, not an empty page."""
    answer = ruddr.get(STAGES, params={cursor: "00000000-0000-4000-8000-000000000000"})
    assert answer.status_code == 400
    assert cursor in answer.json()["message"]


def test_both_cursors_exclude_each_other(ruddr: httpx.Client) -> None:
    """Both cursors together are 400."""
    cursors = dict.fromkeys(("startingAfter", "endingBefore"), EXAMPLE_STAGE_ID)
    answer = ruddr.get(STAGES, params=cursors)
    assert answer.status_code == 400
    assert "exclude each other" in answer.json()["message"]


def test_answers_can_leave_the_pipeline_out() -> None:
    """With `omit_pipeline` no answer names the pipeline, as in some documented examples."""
    with Sandbox(omit_pipeline=True) as sandbox, client_of(sandbox) as ruddr:
        stages = [
            *ruddr.get(STAGES).json()["results"],
            ruddr.get(EXAMPLE).json(),
            ruddr.patch(EXAMPLE, json={"isActive": False}).json(),
        ]
        assert {frozenset(stage) for stage in stages} == {
            frozenset(sandbox.stage(EXAMPLE_STAGE_ID)) - {"opportunityPipelineId"}
        }
