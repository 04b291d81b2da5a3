"""The calls of the generated client, and how their answers are read: all that names it.

A call says what to do in either colour, and nothing of pacing, retries or connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from prefect_ruddr.errors import UnexpectedResponse
from prefect_ruddr.stages.stage import Stage, Workspace, parse_stage_id
from prefect_ruddr.stages.update import StageUpdate
from ruddr_client import Client as Client  # noqa: PLC0414  # api.py makes one of each colour
from ruddr_client.api.opportunity_stages import (
    get_opportunity_stage,
    list_opportunity_stages,
    update_opportunity_stage,
)
from ruddr_client.api.workspace import get_workspace
from ruddr_client.models import OpportunityStage, OpportunityStagePage, OpportunityStageUpdate
from ruddr_client.types import UNSET

PAGE_SIZE = 100
"""Stages in a page of the list; the most that Ruddr gives."""

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call of the generated client, in either colour, and how to read what it gives."""

    operation: Any
    read: Callable[[Any], T]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    stage_id: UUID | None = None
    is_write: bool = False

    def parsed(self, parsed: object) -> T:
        """Read what the client parsed; raises whatever it trips over."""
        value = self.read(parsed)
        if isinstance(value, Stage) and value.id != self.stage_id:
            raise ValueError(f"it is about another stage, {value.id}")
        return value


class Pages:
    """Where in the list we are."""

    def __init__(self, name: str | None) -> None:
        self.complete = False
        self._seen: set[UUID] = set()
        self._arguments: dict[str, Any] = {
            "limit": PAGE_SIZE,
            "name": UNSET if name is None else name,
        }

    def next_call(self) -> Call[tuple[list[Stage], bool]]:
        """Return the call that reads the next page."""
        return Call(list_opportunity_stages, _page, self._arguments)

    def add(self, page: tuple[list[Stage], bool]) -> list[Stage]:
        """Take a page down, and return its stages."""
        stages, has_more = page
        self.complete = not has_more
        if has_more:
            if not stages:
                raise UnexpectedResponse("an empty page says that more stages follow", status=200)
            if stages[-1].id in self._seen:
                raise UnexpectedResponse("the same page of stages came twice", status=200)
            self._seen.add(stages[-1].id)
            self._arguments = self._arguments | {"starting_after": stages[-1].id}
        return stages


def get_call(stage: UUID) -> Call[Stage]:
    """Return the call that reads a stage."""
    # The generated client would send any text as a path, ".." too.
    id_ = parse_stage_id(stage)
    return Call(get_opportunity_stage, _stage, {"id": id_}, id_)


def update_call(update: StageUpdate) -> Call[Stage]:
    """Return the call that sends an update."""
    # The body is made here, inside the call: the generated model does not survive a task
    # boundary, as it marks absent fields by an object's identity.
    body = OpportunityStageUpdate.from_dict(update.body())
    return Call(
        update_opportunity_stage,
        _stage,
        {"id": update.id, "body": body},
        stage_id=update.id,
        is_write=True,
    )


def _stage(parsed: OpportunityStage) -> Stage:
    pipeline = parsed.opportunity_pipeline_id
    return Stage(
        id=parsed.id,
        name=parsed.name,
        description=parsed.description,
        probability=parsed.probability,
        status_id=parsed.status_id.value,
        is_active=parsed.is_active,
        opportunity_pipeline_id=pipeline if isinstance(pipeline, UUID) else None,
        created_at=parsed.created_at,
    )


def _page(parsed: OpportunityStagePage) -> tuple[list[Stage], bool]:
    if not isinstance(parsed.has_more, bool):
        raise TypeError(f"hasMore is {parsed.has_more!r}")
    return [_stage(stage) for stage in parsed.results], parsed.has_more


def _workspace(parsed: Any) -> Workspace:
    return Workspace(id=parsed.id, name=parsed.name)


WORKSPACE: Call[Workspace] = Call(get_workspace, _workspace)
"""The call that reads the workspace behind the key."""
