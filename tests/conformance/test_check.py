"""Whether a Ruddr is what the contract says, asked of real servers: one honest, and some not."""

from __future__ import annotations

import logging
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from prefect_ruddr.api.connection import Connection
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.conformance.checking import Check, check_contract
from prefect_ruddr.errors import Unauthorized
from prefect_ruddr.pacing.bucket import Bucket
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

from .lying_ruddr import (
    API_KEY,
    STAGE_ID,
    LyingRuddr,
    lying,
    stage,
    without,
)

LIST = "GET /workspace/opportunity-stages"
ONE = f"{LIST}/{{id}}"


def checked(base_url: str, key: str = API_KEY, write: UUID | None = None) -> Check:
    """Check a Ruddr, without waiting for turns."""
    connection = Connection(base_url, SecretStr(key))
    api = RuddrApi(
        connection, RequestBudget(Bucket(1000.0, 1000)), lambda: logging.getLogger("check")
    )
    try:
        return check_contract(api, write)
    finally:
        api.close()


def lines(ruddr: LyingRuddr, write: UUID | None = None) -> list[str]:
    """Return what is said of a Ruddr that lies."""
    with lying(ruddr):
        return checked(ruddr.base_url, write=write).lines()


def test_the_sandbox_is_what_the_contract_says(sandbox: Sandbox) -> None:
    """Nothing differs, every page is read, and nothing is written."""
    found = checked(sandbox.base_url)
    assert found.lines() == []
    assert found.agrees
    assert [(call.call, call.answers) for call in found.calls] == [
        ("GET /workspace", 1),
        (LIST, 1),
        (ONE, 1),
        (f"{ONE} of no stage", 1),
    ]
    assert {request.method for request in sandbox.requests} == {"GET"}
    assert "18 stages" in found.table().plain


def test_every_page_is_read() -> None:
    """A workspace of 250 stages is three answers."""
    with Sandbox(api_key=API_KEY, rate=None, stages=250) as sandbox:
        found = checked(sandbox.base_url)
    assert found.lines() == []
    assert (found.calls[1].answers, found.calls[1].note) == (3, "250 stages")


def test_a_pipeline_that_is_left_out_is_no_difference() -> None:
    """The contract says that some answers leave it out; it is worth a note."""
    with Sandbox(api_key=API_KEY, rate=None, omit_pipeline=True) as sandbox:
        found = checked(sandbox.base_url)
    assert found.lines() == []
    assert "18 without opportunityPipelineId" in found.calls[1].note


def test_a_write_sets_what_is_there_and_reads_it_back(sandbox: Sandbox) -> None:
    """One PATCH, of the probability that the stage has."""
    before = dict(sandbox.stage(EXAMPLE_STAGE_ID))
    found = checked(sandbox.base_url, write=UUID(EXAMPLE_STAGE_ID))
    assert found.lines() == []
    assert [call.call for call in found.calls][-2:] == [
        "PATCH /workspace/opportunity-stages/{id}",
        f"{ONE} after the PATCH",
    ]
    [patch] = [request for request in sandbox.requests if request.method == "PATCH"]
    assert patch.json == {"probability": before["probability"]}
    assert dict(sandbox.stage(EXAMPLE_STAGE_ID)) == before


PLACE = "results[]"
SEEN = f"(stage {STAGE_ID})"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        pytest.param(
            stage(score=7), "results[].score: is not in the contract; it is a number", id="unknown"
        ),
        pytest.param(without(stage(), "isActive"), "results[].isActive: is missing", id="missing"),
        pytest.param(
            stage(probability="0.75"),
            "results[].probability: is a string, not number",
            id="wrong type",
        ),
        pytest.param(
            stage(name=None), "results[].name: is null, not string", id="null where none may be"
        ),
        pytest.param(
            stage(probability=75),
            "results[].probability: is 75, and maximum is 1",
            id="out of range",
        ),
        pytest.param(
            stage(probability=0.12345),
            "results[].probability: is 0.12345, and multipleOf is 0.0001",
            id="five decimals",
        ),
        pytest.param(
            stage(statusId="paused"),
            "results[].statusId: is paused, not one of open, won, lost",
            id="unknown status",
        ),
        pytest.param(
            stage(createdAt="10.02.2025"),
            "results[].createdAt: is a text that is no date-time",
            id="no timestamp",
        ),
        pytest.param(
            stage(opportunityPipelineId="42"),
            "results[].opportunityPipelineId: is a text that is no uuid",
            id="no uuid",
        ),
        pytest.param(
            stage(name="n" * 256),
            "results[].name: has 256 characters, and maxLength is 255",
            id="too long",
        ),
    ],
)
def test_a_stage_that_differs_is_a_line(body: dict[str, Any], line: str) -> None:
    """It says where, what, and on which stage; the read of the one stage says so too."""
    found = lines(LyingRuddr(stages=[body]))
    assert found == [
        f"{LIST}: {line} {SEEN}",
        f"{ONE}: {line.removeprefix('results[].')} {SEEN}",
    ]


def test_a_number_that_is_right_in_decimals_is_right() -> None:
    """0.0003 is a multiple of 0.0001, whatever binary floats say."""
    assert lines(LyingRuddr(stages=[stage(probability=0.0003)])) == []


@pytest.mark.parametrize(
    ("ruddr", "line"),
    [
        pytest.param(
            LyingRuddr(workspace={"id": "3d0c9f1e-52a7-4c6b-8e1d-9a4b7c2f6e08"}),
            "GET /workspace: name: is missing",
            id="workspace",
        ),
        pytest.param(
            LyingRuddr(workspace=b"<html>"), "GET /workspace: the body: is not JSON", id="no JSON"
        ),
        pytest.param(
            LyingRuddr(workspace=[]),
            "GET /workspace: the body: is an array, not object",
            id="array",
        ),
        pytest.param(
            LyingRuddr(page={"hasMore": False, "total": 1}),
            f"{LIST}: total: is not in the contract; it is a number",
            id="page",
        ),
        pytest.param(LyingRuddr(page={}), f"{LIST}: hasMore: is missing", id="no hasMore"),
        pytest.param(
            LyingRuddr(page={"hasMore": True}),
            f"{LIST}: hasMore: is true, but the page has no new last stage to go on from",
            id="without end",
        ),
        pytest.param(
            LyingRuddr(stages=[stage(), stage()]),
            f"{LIST}: results[].id: comes twice in the list {SEEN}",
            id="twice",
        ),
        pytest.param(
            LyingRuddr(
                stages=[
                    stage(id="00000000-0000-4000-8000-000000000001"),
                    stage(createdAt="2026-01-01T00:00:00.000Z"),
                ]
            ),
            f"{LIST}: results[].createdAt: is newer than that of the stage before it in the list"
            f" {SEEN}",
            id="order",
        ),
        pytest.param(
            LyingRuddr(none=400),
            f"{ONE} of no stage: the status: is 400, and the contract says 404",
            id="no stage",
        ),
    ],
)
def test_an_answer_that_differs_is_a_line(ruddr: LyingRuddr, line: str) -> None:
    """Whatever answer it is, and the other calls are made all the same."""
    assert line in lines(ruddr)
    assert {place.count("/") for _, place, _ in ruddr.requests} == {0, 1, 2}


def test_headers_about_limits_are_told() -> None:
    """The contract knows of none, so that their form is news."""
    ruddr = LyingRuddr(headers={"X-RateLimit-Remaining": "59", "Retry-After": "1"})
    found = lines(ruddr)
    for header, value in (("x-ratelimit-remaining", "59"), ("retry-after", "1")):
        assert (
            f"GET /workspace: header {header}: is not in the contract; its value is {value}"
        ) in found


def test_stages_that_differ_alike_are_one_line() -> None:
    """A hundred stages with one more field are one thing to report."""
    ids = [f"00000000-0000-4000-8000-{number:012}" for number in range(100)]
    found = lines(LyingRuddr(stages=[stage(id=each, score=1) for each in ids]))
    assert found[0] == (
        f"{LIST}: results[].score: is not in the contract; it is a number"
        f" (100 stages, such as {ids[0]})"
    )


def test_no_name_and_no_key_is_in_a_line() -> None:
    """Every line can be made public, whatever was answered."""
    secret = stage(description=["Secret plan"], statusId="Secret status!", owner=API_KEY)
    secret[f"of {API_KEY}"] = 1
    workspace = {"id": "Secret id", "name": 5}
    found = lines(
        LyingRuddr(stages=[secret], workspace=workspace, headers={"Retry-After": API_KEY})
    )
    assert len(found) >= 5
    assert not [line for line in found if "Secret" in line or API_KEY in line]


def test_a_write_that_changes_more_is_told() -> None:
    """The PATCH named the probability alone."""
    ruddr = LyingRuddr(patched={"isActive": False})
    found = lines(ruddr, write=UUID(STAGE_ID))
    assert found == [
        f"PATCH /workspace/opportunity-stages/{{id}}: isActive: is not what it was before the"
        f" PATCH {SEEN}",
        f"{ONE} after the PATCH: isActive: is not what it was before the PATCH {SEEN}",
    ]


def test_nothing_is_written_where_the_probability_is_out_of_range() -> None:
    """What the stage holds cannot be sent, so it is not."""
    ruddr = LyingRuddr(stages=[stage(probability=75)])
    lines(ruddr, write=UUID(STAGE_ID))
    assert {method for method, *_ in ruddr.requests} == {"GET"}


def test_a_wrong_key_is_an_error_and_no_difference(sandbox: Sandbox) -> None:
    """What Ruddr documents is what it may answer."""
    with pytest.raises(Unauthorized):
        checked(sandbox.base_url, "rk_test_wrong")
