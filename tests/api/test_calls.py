"""What goes over the wire for each call, and what comes back, sync and async."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from prefect_ruddr import (
    InvalidStageUpdates,
    RuddrCredentials,
    Stage,
    StageUpdate,
    UnexpectedResponse,
    Workspace,
    __version__,
)
from prefect_ruddr.sandbox import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID, Sandbox

Call = Callable[..., Any]

ID = UUID(EXAMPLE_STAGE_ID)
UPDATE = StageUpdate(id=ID, probability=0.8, description=None)


def test_an_update_is_one_patch_with_exactly_the_fields_that_are_set(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Method, path, headers and body, to the byte; the sandbox accepts no key but the right one."""
    call(ruddr_credentials, "update_stage", UPDATE)
    [request] = sandbox.requests
    assert (request.method, request.path) == (
        "PATCH",
        f"/api/workspace/opportunity-stages/{EXAMPLE_STAGE_ID}",
    )
    assert request.body == b'{"description":null,"probability":0.8}'
    assert request.headers == {
        "host": sandbox.base_url.split("/")[2],
        "accept": "application/json",
        "accept-encoding": "identity",
        "connection": "keep-alive",
        "user-agent": f"prefect-ruddr/{__version__}",
        "content-length": str(len(request.body)),
        "content-type": "application/json",
        "authorization": "[redacted]",
    }


def test_an_update_answers_with_the_whole_stage_after_it(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """As Ruddr says it is, not as it was wished for; and how often the PATCH was sent."""
    sandbox.fail_next(replace={"name": "Renamed meanwhile"})
    answer = call(ruddr_credentials, "update_stage", UPDATE)
    assert answer == (
        Stage(
            id=ID,
            name="Renamed meanwhile",
            description=None,
            probability=0.8,
            status_id="open",
            is_active=True,
            opportunity_pipeline_id=UUID(EXAMPLE_PIPELINE_ID),
            created_at=datetime(2025, 2, 10, 9, 15, 42, 891_000, tzinfo=UTC),
        ),
        1,
    )
    assert sandbox.stage(ID)["probability"] == 0.8


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        pytest.param({"name": "Zażółć “gęślą”"}, {"name": "Zażółć “gęślą”"}, id="name"),
        pytest.param({"description": "a\nb"}, {"description": "a\nb"}, id="description"),
        pytest.param({"description": None}, {"description": None}, id="cleared"),
        pytest.param({"description": " "}, {"description": None}, id="blank"),
        pytest.param({"probability": 0.0003}, {"probability": 0.0003}, id="probability"),
        pytest.param({"status_id": "lost"}, {"statusId": "lost"}, id="status"),
        pytest.param({"is_active": False}, {"isActive": False}, id="activity"),
        pytest.param(
            {"opportunity_pipeline_id": EXAMPLE_PIPELINE_ID},
            {"opportunityPipelineId": EXAMPLE_PIPELINE_ID},
            id="pipeline",
        ),
    ],
)
def test_each_field_is_sent_and_kept(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    fields: dict[str, Any],
    body: dict[str, Any],
) -> None:
    """Alone in the body, and in effect afterwards; every other field is as it was."""
    before = sandbox.stage(ID)
    call(ruddr_credentials, "update_stage", StageUpdate(id=ID, **fields))
    assert [request.json for request in sandbox.requests] == [body]
    assert sandbox.stage(ID) == before | body


@pytest.mark.parametrize(
    ("read", "path"),
    [
        pytest.param(["workspace"], "", id="workspace"),
        pytest.param(["get_stage", ID], f"/opportunity-stages/{ID}", id="get"),
        pytest.param(["list_stages"], "/opportunity-stages?limit=100", id="list"),
        pytest.param(
            ["list_stages", "R&D / 50% + more"],
            "/opportunity-stages?limit=100&name=R%26D+%2F+50%25+%2B+more",
            id="list by name",
        ),
    ],
)
def test_a_read_is_one_get_without_a_body(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    call: Call,
    read: list[Any],
    path: str,
) -> None:
    """Ids and names are quoted; nothing but the path and the query says what is read."""
    call(ruddr_credentials, *read)
    [request] = sandbox.requests
    assert (request.method, request.path) == ("GET", f"/api/workspace{path}")
    assert request.body == b""
    assert "content-type" not in request.headers


def test_the_workspace_is_the_one_of_the_key(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Its id and its name."""
    assert call(ruddr_credentials, "workspace") == Workspace(
        id=UUID(sandbox.workspace["id"]), name=sandbox.workspace["name"]
    )


def test_a_stage_is_read_as_it_is_now(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Somebody else's change is seen."""
    sandbox.edit(ID, name="Haggling")
    assert call(ruddr_credentials, "get_stage", ID).name == "Haggling"


def test_a_cookie_is_not_sent_back(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """The key says who asks; what was answered before has no say in a request."""
    page = {"results": sandbox.stages[:1], "hasMore": True}
    sandbox.fail_next(body=page, headers={"Set-Cookie": "affinity=node-1; Path=/"})
    call(ruddr_credentials, "list_stages")
    first, second = sandbox.requests
    assert first.headers == second.headers


@pytest.mark.parametrize("text", ["..", "../..", "", f"{EXAMPLE_STAGE_ID}?x", "a/b"])
def test_what_is_no_id_never_reaches_the_wire(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, text: str
) -> None:
    """As a path it would name another resource: ".." is the workspace."""
    with pytest.raises(InvalidStageUpdates):
        call(ruddr_credentials, "get_stage", text)
    assert sandbox.requests == []


def test_a_field_that_no_document_names_is_passed_over(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Ruddr may add to its answers without breaking a pipeline."""
    sandbox.fail_next(replace={"color": "teal", "position": {"of": [1, 2]}})
    assert call(ruddr_credentials, "update_stage", UPDATE).value.probability == 0.8


def test_an_answer_may_leave_the_pipeline_out(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """Some documented ones do."""
    sandbox.fail_next(omit=("opportunityPipelineId",))
    assert call(ruddr_credentials, "update_stage", UPDATE).value.opportunity_pipeline_id is None


def test_the_list_is_read_to_its_end_a_hundred_at_a_time(
    ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """250 stages are three pages, newest first, each beginning where the last one ended."""
    with Sandbox(api_key="k", rate=None, stages=250) as sandbox:
        credentials = RuddrCredentials.model_validate(
            {"api_key": "k", "base_url": sandbox.base_url}
        )
        stages = call(credentials, "list_stages")
        assert [str(stage.id) for stage in stages] == [stage["id"] for stage in sandbox.stages]
        assert [request.path.partition("?")[2] for request in sandbox.requests] == [
            "limit=100",
            f"startingAfter={stages[99].id}&limit=100",
            f"startingAfter={stages[199].id}&limit=100",
        ]


def test_the_list_of_a_name_holds_no_other(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """The same name may be in several pipelines; all of them are found."""
    named = [stage["id"] for stage in sandbox.stages if stage["name"] == "Negotiation"]
    stages = call(ruddr_credentials, "list_stages", "Negotiation")
    assert [str(stage.id) for stage in stages] == named
    assert len(named) == 2


def test_a_list_may_be_empty(ruddr_credentials: RuddrCredentials, call: Call) -> None:
    """No stage of that name is an answer, not an error."""
    assert call(ruddr_credentials, "list_stages", "No such name") == []


def test_an_empty_page_that_is_not_the_last_ends_the_list(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call
) -> None:
    """There is no id to go on from."""
    sandbox.fail_next(body={"results": [], "hasMore": True})
    with pytest.raises(UnexpectedResponse, match="empty page"):
        call(ruddr_credentials, "list_stages")


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_a_list_without_an_end_is_noticed(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, call: Call, pages: int
) -> None:
    """Pages that come round again would be read for ever."""
    for _ in range(3):
        for stage in sandbox.stages[:pages]:
            sandbox.fail_next(body={"results": [stage], "hasMore": True})
    with pytest.raises(UnexpectedResponse, match="came twice"):
        call(ruddr_credentials, "list_stages")
    assert len(sandbox.requests) == pages + 1
