"""The calls of the generated client, and how their answers are read: all that names it.

A call says what to ask, sync or async, and nothing of pacing, retries or connections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from uuid import UUID

from prefect_ruddr.api.paging import PAGE_SIZE, Page
from prefect_ruddr.stages.stage import Stage, Workspace, parse_stage_id
from prefect_ruddr.stages.update import StageUpdate
from ruddr_client import Client as Client  # noqa: PLC0414  # ruddr_api makes one of each kind
from ruddr_client.api.opportunity_stages import (
    get_opportunity_stage,
    list_opportunity_stages,
    update_opportunity_stage,
)
from ruddr_client.api.workspace import get_workspace
from ruddr_client.models import OpportunityStage, OpportunityStagePage, OpportunityStageUpdate
from ruddr_client.types import UNSET

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call of the generated client, sync or async, and how to read what it gives."""

    operation: Any
    read: Callable[[Any], T]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    stage_id: UUID | None = None
    is_write: bool = False

    def send(self, client: Client) -> T:
        """Send the request once; raises whatever reading the answer trips over."""
        return self._value(self.operation.sync_detailed(client=client, **self.arguments).parsed)

    async def asend(self, client: Client) -> T:
        """Async version of `send`."""
        answer = await self.operation.asyncio_detailed(client=client, **self.arguments)
        return self._value(answer.parsed)

    def reading(self) -> Call[Any]:
        """Return the call that reads the stage this one is about."""
        if self.stage_id is None:
            raise ValueError("the call is about no stage")
        return get_call(self.stage_id)

    def _value(self, parsed: object) -> T:
        value = self.read(parsed)
        if isinstance(value, Stage) and value.id != self.stage_id:
            raise ValueError(f"it is about another stage, {value.id}")
        return value


def page_call(name: str | None, after: UUID | None) -> Call[Page[Stage]]:
    """Return the call that reads a page of the list of stages.

    Args:
        name: Only stages whose name is exactly this.
        after: The last stage of the page before, or None for the first page.
    """
    arguments = {
        "limit": PAGE_SIZE,
        "name": UNSET if name is None else name,
        "starting_after": UNSET if after is None else after,
    }
    return Call(list_opportunity_stages, _page, arguments)


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


def _page(parsed: OpportunityStagePage) -> Page[Stage]:
    if not isinstance(parsed.has_more, bool):
        raise TypeError(f"hasMore is {parsed.has_more!r}")
    return Page([_stage(stage) for stage in parsed.results], parsed.has_more)


def _workspace(parsed: Any) -> Workspace:
    return Workspace(id=parsed.id, name=parsed.name)


WORKSPACE: Call[Workspace] = Call(get_workspace, _workspace)
"""The call that reads the workspace behind the key."""
