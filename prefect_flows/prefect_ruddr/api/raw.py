"""Answers as they came over the wire, before anything reads them.

The generated client drops fields that the contract does not name; whoever compares Ruddr with the
contract needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect_ruddr.api.calls import Call, Client
from prefect_ruddr.api.paging import PAGE_SIZE
from prefect_ruddr.errors import RuddrRequestError
from prefect_ruddr.stages.stage import Stage

STAGES = "/workspace/opportunity-stages"


@dataclass(frozen=True)
class RawAnswer:
    """A 200 as it came.

    Attributes:
        headers: Its headers; their names are in lower case.
        content: The whole body, within the bounds of every other answer.
    """

    headers: Mapping[str, str]
    content: bytes


class _Request:
    """A request in the form of the generated client's operations."""

    @staticmethod
    def sync_detailed(client: Client, method: str, path: str, **options: Any) -> _Answered:
        answer = client.get_httpx_client().request(method, path, **options)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return _Answered(RawAnswer(headers, answer.content))


@dataclass(frozen=True)
class _Answered:
    parsed: RawAnswer


class SendNoMore:
    """Lets nothing be sent again that may have been carried out."""

    def wants_to_look(self, failure: RuddrRequestError | None) -> bool:
        """Raise where the last attempt may have been carried out; the stage need not be read."""
        if failure is not None and failure.may_have_been_applied:
            raise failure
        return False

    def is_spared(self, stage: Stage) -> bool:  # noqa: ARG002 - what a guard is asked
        """Tell that it has to be sent."""
        return False

    def check(self) -> None:
        """Go on."""


def raw_workspace() -> Call[RawAnswer]:
    """Return the call that reads the workspace behind the key."""
    return _call("GET", "/workspace")


def raw_page(after: UUID | None) -> Call[RawAnswer]:
    """Return the call that reads a page of the list of stages.

    Args:
        after: The last stage of the page before, or None for the first page.
    """
    cursor = {} if after is None else {"startingAfter": str(after)}
    return _call("GET", STAGES, params={"limit": PAGE_SIZE, **cursor})


def raw_stage(stage_id: UUID) -> Call[RawAnswer]:
    """Return the call that reads a stage."""
    return _call("GET", f"{STAGES}/{stage_id}", stage_id)


def raw_update(stage_id: UUID, body: Mapping[str, Any]) -> Call[RawAnswer]:
    """Return the call that sends a PATCH with exactly this body."""
    return _call("PATCH", f"{STAGES}/{stage_id}", stage_id, json=dict(body))


def _call(method: str, path: str, stage_id: UUID | None = None, **options: Any) -> Call[RawAnswer]:
    arguments = {"method": method, "path": path, **options}
    return Call(_Request, _as_it_is, arguments, stage_id, is_write=method == "PATCH")


def _as_it_is(answer: Any) -> RawAnswer:
    raw: RawAnswer = answer
    return raw
