"""Changing a stage."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr.sandbox import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID, Refused, Sandbox
from prefect_ruddr.sandbox.contract import load_contract

from .conftest import EXAMPLE


def in_pipeline(sandbox: Sandbox, pipeline: str) -> dict[str, dict[str, Any]]:
    """Return the stages of a pipeline by name."""
    [pipeline_id] = [p["id"] for p in sandbox.pipelines if p["name"] == pipeline]
    return {s["name"]: s for s in sandbox.stages if s["opportunityPipelineId"] == pipeline_id}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "Legal Review"),
        ("description", "With both legal teams."),
        ("description", None),
        ("probability", 0.625),
        ("statusId", "lost"),
        ("isActive", False),
    ],
)
def test_a_field_is_set_and_all_others_are_left_alone(
    sandbox: Sandbox, ruddr: httpx.Client, field: str, value: object
) -> None:
    """PATCH sets what is in the body, keeps the rest, and answers with the whole stage."""
    before = sandbox.stage(EXAMPLE_STAGE_ID)
    answer = ruddr.patch(EXAMPLE, json={field: value})
    assert answer.status_code == 200
    assert answer.json() == {**before, field: value}
    assert sandbox.stage(EXAMPLE_STAGE_ID) == answer.json()


def test_a_stage_moves_to_another_pipeline(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """A stage takes another opportunityPipelineId; upper case is the same pipeline."""
    renewals = in_pipeline(sandbox, "Renewals")["Renewed"]["opportunityPipelineId"]
    answer = ruddr.patch(EXAMPLE, json={"opportunityPipelineId": renewals.upper()})
    assert answer.json()["opportunityPipelineId"] == renewals


def test_the_same_change_twice_ends_the_same(ruddr: httpx.Client) -> None:
    """Values are absolute: the second PATCH answers as the first."""
    body = {"name": "Legal Review", "probability": 0.7}
    assert ruddr.patch(EXAMPLE, json=body).json() == ruddr.patch(EXAMPLE, json=body).json()


@pytest.mark.parametrize("blank", ["", " ", "\t\n \u00a0"])
def test_a_blank_description_is_stored_as_null(ruddr: httpx.Client, blank: str) -> None:
    """A description that trims to nothing clears it."""
    assert ruddr.patch(EXAMPLE, json={"description": blank}).json()["description"] is None


@pytest.mark.parametrize("text", ["  Legal  ", "Zoë, 提案", "\ud83d", "a" * 255, "\x00"])
def test_a_text_is_stored_as_it_was_sent(ruddr: httpx.Client, text: str) -> None:
    """White space at the ends, any script, and half a surrogate pair all stay."""
    content = json.dumps({"name": text})
    answer = ruddr.patch(
        EXAMPLE, content=content, headers={"Content-Type": "application/json; charset=utf-8"}
    )
    assert answer.json()["name"] == text


@given(ten_thousandths=st.integers(min_value=0, max_value=10_000))
def test_every_probability_of_four_places_is_allowed(ten_thousandths: int) -> None:
    """Decimal places are counted on the decimal text, where 0.0003 has four."""
    operation = load_contract().operation("update_opportunity_stage")
    operation.check_body({"probability": ten_thousandths / 10_000})


@given(hundred_thousandths=st.integers(1, 99_999).filter(lambda n: n % 10))
def test_no_probability_of_five_places_is_allowed(hundred_thousandths: int) -> None:
    """One more decimal place is refused."""
    operation = load_contract().operation("update_opportunity_stage")
    with pytest.raises(Refused, match=r"is not a multiple of 0\.0001"):
        operation.check_body({"probability": hundred_thousandths / 100_000})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "body: {} should be non-empty"),
        ("[]", "body: [] is not of type 'object'"),
        ("null", "body: None is not of type 'object'"),
        ('{"nmae": "A"}', "'nmae' was unexpected"),
        ('{"id": "1"}', "'id' was unexpected"),
        ('{"name": null}', "body.name: None is not of type 'string'"),
        ('{"name": ""}', "body.name: '' should be non-empty"),
        ('{"name": " \\t"}', "body.name: ' \\t' does not match"),
        (json.dumps({"name": "a" * 256}), "is too long"),
        (json.dumps({"description": "a" * 5001}), "is too long"),
        ('{"probability": null}', "body.probability: None is not of type 'number'"),
        ('{"probability": true}', "body.probability: True is not of type 'number'"),
        ('{"probability": "0.5"}', "body.probability: '0.5' is not of type 'number'"),
        ('{"probability": 1.0001}', "body.probability: 1.0001 is greater than the maximum"),
        ('{"probability": -0.0001}', "body.probability: -0.0001 is less than the minimum"),
        ('{"probability": 0.00005}', "body.probability: 5e-05 is not a multiple of 0.0001"),
        ('{"probability": 1e999}', "body.probability: inf is not a multiple of 0.0001"),
        ('{"statusId": "Won"}', "body.statusId: 'Won' is not one of"),
        ('{"statusId": null}', "body.statusId: None is not one of"),
        ('{"isActive": 1}', "body.isActive: 1 is not of type 'boolean'"),
        ('{"opportunityPipelineId": null}', "None is not of type 'string'"),
        ('{"opportunityPipelineId": "b9c85ac3"}', "'b9c85ac3' is not a 'uuid'"),
    ],
)
def test_a_body_outside_the_contract_is_refused(
    sandbox: Sandbox, ruddr: httpx.Client, body: str, text: str
) -> None:
    """An error is 400, named with its place, and nothing is changed."""
    before = sandbox.stages
    answer = ruddr.patch(EXAMPLE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert any(text in error for error in answer.json()["errors"])
    assert sandbox.stages == before


def test_all_errors_are_named_at_once(ruddr: httpx.Client) -> None:
    """`errors` holds one text for each thing that is wrong."""
    answer = ruddr.patch(EXAMPLE, json={"name": "", "probability": 2, "statusId": "x"})
    assert answer.json()["message"] == "The body is not valid."
    assert {error.split(":")[0] for error in answer.json()["errors"]} == {
        "body.name",
        "body.probability",
        "body.statusId",
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{", id="a part"),
        pytest.param(b"{'name': 'A'}", id="wrong quotes"),
        pytest.param(b'{"probability": NaN}', id="NaN"),
        pytest.param(b'{"probability": -Infinity}', id="infinity"),
        pytest.param(b'{"name": "\xff"}', id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="too deep"),
    ],
)
def test_what_is_not_json_is_refused(ruddr: httpx.Client, body: bytes) -> None:
    """A body that no JSON reader takes is 400."""
    answer = ruddr.patch(EXAMPLE, content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["message"]) == (400, "The body is not JSON.")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_must_say_that_it_is_json(ruddr: httpx.Client, content_type: str) -> None:
    """JSON under another content type is 400."""
    answer = ruddr.patch(
        EXAMPLE, content=b'{"isActive": false}', headers={"Content-Type": content_type}
    )
    assert answer.status_code == 400
    assert "application/json" in answer.json()["message"]


def test_a_huge_body_is_refused_without_reading_it_all(ruddr: httpx.Client) -> None:
    """Beyond 128 KiB the answer is 400, and the next request works."""
    body = b'{"description": "' + b"a" * 2_000_000 + b'"}'
    answer = ruddr.patch(EXAMPLE, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert "larger than 131072 bytes" in answer.json()["message"]
    assert ruddr.get(EXAMPLE).status_code == 200


def test_the_longest_texts_fit(ruddr: httpx.Client) -> None:
    """5000 characters of description and 255 of name are taken, even escaped in JSON."""
    body = {"name": "\U0001f4c8" * 255, "description": "\U0001f4c8" * 5000}
    content = json.dumps(body, ensure_ascii=True)
    answer = ruddr.patch(EXAMPLE, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert answer.json()["description"] == body["description"]


def test_two_stages_of_a_pipeline_cannot_share_a_name(
    sandbox: Sandbox, ruddr: httpx.Client
) -> None:
    """A name that another stage of the pipeline has is 409 and changes nothing."""
    before = sandbox.stages
    answer = ruddr.patch(EXAMPLE, json={"name": "Proposal", "probability": 0.1})
    assert answer.status_code == 409
    assert sandbox.stages == before


def test_stages_of_two_pipelines_can_share_a_name(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The name of a stage in another pipeline is free."""
    assert "Terms Sent" in in_pipeline(sandbox, "Renewals")
    assert ruddr.patch(EXAMPLE, json={"name": "Terms Sent"}).status_code == 200


def test_a_move_cannot_make_two_of_a_name(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Moving a stage to a pipeline that has one of its name is 409."""
    partner = in_pipeline(sandbox, "Partner-sourced")["Negotiation"]["opportunityPipelineId"]
    assert ruddr.patch(EXAMPLE, json={"opportunityPipelineId": partner}).status_code == 409


def test_a_name_given_up_is_free_again(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """Once a stage is renamed, another one may take its old name."""
    proposal = in_pipeline(sandbox, "New Business")["Proposal"]["id"]
    ruddr.patch(EXAMPLE, json={"name": "Legal Review"})
    answer = ruddr.patch(f"opportunity-stages/{proposal}", json={"name": "Negotiation"})
    assert answer.status_code == 200


def test_an_unknown_pipeline_is_refused(ruddr: httpx.Client) -> None:
    """A pipeline that the workspace does not have is 400."""
    unknown = EXAMPLE_PIPELINE_ID.replace("b", "c")
    answer = ruddr.patch(EXAMPLE, json={"opportunityPipelineId": unknown})
    assert answer.status_code == 400
    assert "opportunityPipelineId" in answer.json()["message"]


def test_an_unknown_stage_cannot_be_changed(ruddr: httpx.Client) -> None:
    """PATCH of an id that no stage has is 404."""
    path = "opportunity-stages/00000000-0000-4000-8000-000000000000"
    assert ruddr.patch(path, json={"isActive": False}).status_code == 404


def test_a_read_only_stage_refuses_changes(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """A stage made read-only answers a PATCH with 409 and a GET as before."""
    sandbox.make_read_only(EXAMPLE_STAGE_ID)
    assert ruddr.patch(EXAMPLE, json={"probability": 0.1}).status_code == 409
    assert ruddr.get(EXAMPLE).json()["probability"] == 0.75


def test_somebody_edits_in_the_meantime(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`edit` changes a stage without a request, by the same rules."""
    edited = sandbox.edit(EXAMPLE_STAGE_ID, probability=0.8, description=" ")
    assert (edited["probability"], edited["description"]) == (0.8, None)
    assert ruddr.get(EXAMPLE).json() == edited
    assert [request.method for request in sandbox.requests] == ["GET"]


def test_somebody_deletes_a_stage(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """`delete` takes it out of the list and answers for it with 404; its name is free again."""
    gone = sandbox.stage(EXAMPLE_STAGE_ID)
    sandbox.delete(EXAMPLE_STAGE_ID)
    assert ruddr.get(EXAMPLE).status_code == 404
    listed = ruddr.get("/opportunity-stages?limit=100").json()["results"]
    assert len(listed) == len(sandbox.stages) == 17
    of_pipeline = gone["opportunityPipelineId"]
    other = next(s for s in listed if s["opportunityPipelineId"] == of_pipeline)
    assert sandbox.edit(other["id"], name=gone["name"])["name"] == gone["name"]
    with pytest.raises(Refused):
        sandbox.delete(EXAMPLE_STAGE_ID)


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"probability": 2}, 400), ({"name": "Proposal"}, 409), ({}, 400)],
    ids=["out of range", "a name that is taken", "nothing"],
)
def test_an_edit_is_held_to_the_same_rules(
    sandbox: Sandbox, fields: dict[str, Any], status: int
) -> None:
    """`edit` raises what the request would have been refused with."""
    with pytest.raises(Refused) as refused:
        sandbox.edit(EXAMPLE_STAGE_ID, **fields)
    assert refused.value.status == status
