"""The public API as a user's type checker sees it: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_type
from uuid import UUID

from prefect import flow, unmapped
from prefect.futures import PrefectFuture, PrefectFutureList
from pydantic import SecretStr

from prefect_ruddr import (
    Answer,
    RuddrApi,
    RuddrCredentials,
    RuddrRequestError,
    Stage,
    StageReport,
    StageStatus,
    StageUpdate,
    Workspace,
    aget_opportunity_stage,
    alist_opportunity_stages,
    apply_stage_updates,
    aupdate_opportunity_stage,
    get_opportunity_stage,
    list_opportunity_stages,
    undo_stage_updates,
    update_opportunity_stage,
    update_opportunity_stage_flow,
)

ID = UUID("a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19")
ROW: Mapping[str, Any] = {"id": str(ID), "probability": 0.8}


def credentials() -> RuddrCredentials:
    assert_type(RuddrCredentials.from_env(), RuddrCredentials)
    assert_type(RuddrCredentials.from_env().verify(), Workspace)
    return RuddrCredentials(api_key=SecretStr("key"))


def updates() -> list[StageUpdate]:
    StageUpdate(id=ID, nmae="Won")  # type: ignore[call-arg]
    StageUpdate(name="Won")  # type: ignore[call-arg]
    return [
        StageUpdate(id=ID, name="Won", description=None),
        StageUpdate(id=ID, probability=1, status_id="won", is_active=True),
        StageUpdate(id=ID, opportunity_pipeline_id=ID),
    ]


def fields_of_a_stage(stage: Stage) -> None:
    assert_type(stage.id, UUID)
    assert_type(stage.name, str)
    assert_type(stage.description, str | None)
    assert_type(stage.probability, float)
    assert_type(stage.status_id, StageStatus)
    assert_type(stage.is_active, bool)
    assert_type(stage.opportunity_pipeline_id, UUID | None)
    stage.name = "Lost"  # type: ignore[misc]


def tasks() -> None:
    assert_type(update_opportunity_stage(credentials(), updates()[0]), Stage)
    assert_type(update_opportunity_stage(credentials(), ROW), Stage)
    assert_type(get_opportunity_stage(credentials(), ID), Stage)
    assert_type(get_opportunity_stage(credentials(), str(ID)), Stage)
    assert_type(list_opportunity_stages(credentials(), name="Won"), list[Stage])
    assert_type(update_opportunity_stage.submit(credentials(), ROW), PrefectFuture[Stage])
    assert_type(
        update_opportunity_stage.map(unmapped(credentials()), updates()), PrefectFutureList[Stage]
    )
    update_opportunity_stage(credentials())  # type: ignore[call-overload]
    update_opportunity_stage("key", ROW)  # type: ignore[call-overload]


async def async_twins() -> None:
    assert_type(await aupdate_opportunity_stage(credentials(), ROW), Stage)
    assert_type(await aget_opportunity_stage(credentials(), ID), Stage)
    assert_type(await alist_opportunity_stages(credentials()), list[Stage])


def flows() -> None:
    assert_type(update_opportunity_stage_flow(credentials(), ROW), Stage)
    assert_type(apply_stage_updates(credentials(), [ROW, updates()[0]]), StageReport)
    assert_type(apply_stage_updates(credentials(), [ROW], dry_run=True), StageReport)
    assert_type(undo_stage_updates(credentials(), ID), StageReport)


@flow
def of_a_user() -> list[str]:
    stages = update_opportunity_stage.map(unmapped(credentials()), updates()).result()
    return [stage.name for stage in stages]


async def api_without_prefect() -> None:
    api = credentials().get_client()
    assert_type(api, RuddrApi)
    assert_type(api.get_stage(ID), Stage)
    assert_type(await api.aget_stage(ID), Stage)
    assert_type(api.list_stages(), list[Stage])
    assert_type(await api.alist_stages("Won"), list[Stage])
    assert_type(api.update_stage(updates()[0]), Answer[Stage])
    assert_type((await api.aupdate_stage(updates()[0])).value, Stage)
    assert_type(api.update_stage(updates()[0]).attempts, int)
    api.update_stage(ROW)  # type: ignore[arg-type]


def what_went_wrong(error: RuddrRequestError) -> None:
    assert_type(error.status, int | None)
    assert_type(error.errors, tuple[str, ...])
    assert_type(error.stage_id, UUID | None)
    assert_type(error.attempts, int)
    assert_type(error.retry_after, float | None)
    assert_type(error.retryable, bool)
    assert_type(error.ends_run, bool)
