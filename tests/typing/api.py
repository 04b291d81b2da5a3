"""The public API as a user's type checker sees it: checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type
from uuid import UUID

from prefect import flow, unmapped
from prefect.futures import PrefectFuture, PrefectFutureList
from pydantic import SecretStr

from prefect_ruddr import (
    Answer,
    AnswerLost,
    BadRequest,
    ConnectionFailed,
    DriftFound,
    ErrorResponse,
    ExportFailed,
    ExtraMissing,
    FieldChange,
    Forbidden,
    GlobalConcurrencyLimitError,
    HistoryRefused,
    InvalidCredentials,
    InvalidStageUpdates,
    MethodNotAllowed,
    MissingStage,
    NoAnswer,
    Outcome,
    PlanNotFound,
    Recalibration,
    RuddrApi,
    RuddrCredentials,
    RuddrError,
    RuddrRequestError,
    RunNotEnded,
    RunNotRecorded,
    RunStopped,
    ServerError,
    SourceRow,
    SourceUnreadable,
    Stage,
    StageChange,
    StageConflict,
    StageDrift,
    StageEdited,
    StageNotFound,
    StageOutcome,
    StagePlan,
    StageReport,
    StageStatus,
    StageUpdate,
    StageUpdateLike,
    StageUpdatesFailed,
    TooManyRequests,
    Unauthorized,
    UnexpectedResponse,
    ValueNotKept,
    Workspace,
    WorkspaceLocked,
    WorkspaceMismatch,
    __version__,
    aexport_opportunity_stages,
    aget_opportunity_stage,
    alist_opportunity_stages,
    apply_stage_file,
    apply_stage_plan,
    apply_stage_updates,
    aupdate_opportunity_stage,
    backtest_sentences,
    change_picture,
    check_stage_drift,
    export_opportunity_stages,
    export_opportunity_stages_flow,
    export_stages,
    export_updates,
    get_opportunity_stage,
    list_opportunity_stages,
    plan_stage_updates,
    read_stage_updates,
    recalibrate_stage_probabilities,
    reliability_picture,
    stage_rows,
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


def stage() -> Stage:
    return get_opportunity_stage(credentials(), ID)


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


async def async_versions() -> None:
    assert_type(await aupdate_opportunity_stage(credentials(), ROW), Stage)
    assert_type(await aget_opportunity_stage(credentials(), ID), Stage)
    assert_type(await alist_opportunity_stages(credentials()), list[Stage])
    assert_type(await aexport_opportunity_stages(credentials(), Path("s.yaml")), list[Stage])


def flows() -> None:
    assert_type(update_opportunity_stage_flow(credentials(), ROW), Stage)
    assert_type(apply_stage_updates(credentials(), [ROW, updates()[0]]), StageReport)
    assert_type(apply_stage_updates(credentials(), read_stage_updates("s.csv")), StageReport)
    assert_type(apply_stage_updates(credentials(), [stage()], dry_run=True), StageReport)
    assert_type(
        apply_stage_updates(
            credentials(),
            [ROW],
            dry_run=False,
            approval="risky",
            on_invalid="skip",
            most_changes=10,
            only_fields=["probability"],
            risky_probability_change=0.1,
            approval_timeout_seconds=60,
            swap_names=True,
            allow_overlap=True,
        ),
        StageReport,
    )
    apply_stage_updates(credentials(), [ROW], approval="maybe")  # type: ignore[call-overload]
    apply_stage_updates(credentials(), [ROW], only_fields=["id"])  # type: ignore[list-item]
    assert_type(
        apply_stage_file(
            credentials(),
            "s.csv",
            dry_run=True,
            approval="always",
            on_invalid="stop",
            most_changes=None,
            only_fields=("name", "description"),
            format="csv",
            blank="clear",
            null_marker="NULL",
            encoding="cp1252",
            delimiter=";",
            risky_probability_change=1,
            approval_timeout_seconds=60,
            swap_names=False,
            allow_overlap=False,
        ),
        StageReport,
    )
    assert_type(
        apply_stage_plan(
            credentials(),
            ID,
            approval="never",
            most_changes=5,
            risky_probability_change=0.5,
            approval_timeout_seconds=60,
            swap_names=False,
            allow_overlap=False,
        ),
        StageReport,
    )
    assert_type(
        undo_stage_updates(
            credentials(),
            ID,
            dry_run=True,
            approval="risky",
            risky_probability_change=0.5,
            approval_timeout_seconds=60,
            swap_names=False,
            allow_overlap=False,
        ),
        StageReport,
    )
    assert_type(export_opportunity_stages_flow(credentials(), "s.yaml", "yaml"), list[Stage])


def drift() -> None:
    found = check_stage_drift(credentials(), "s.yaml", fail_on_drift=False, format="yaml")
    assert_type(found, StageDrift)
    assert_type(check_stage_drift(credentials(), deployment="a/b"), StageDrift)
    assert_type(check_stage_drift(credentials(), flow_run_id=ID, encoding="utf-8"), StageDrift)
    assert_type(found.found, bool)
    assert_type(found.source, str)
    assert_type(found.plan, StagePlan)
    assert_type(found.missing, tuple[MissingStage, ...])
    assert_type(found.missing[0].stage_id, UUID | None)
    assert_type(found.missing[0].why, str)
    assert_type(DriftFound(found).drift, StageDrift)


def recalibration() -> None:
    found = recalibrate_stage_probabilities(credentials(), "deals.parquet", window_days=90)
    assert_type(found, Recalibration)
    assert_type(found.updates, tuple[StageUpdate, ...])
    assert_type(found.report, StageReport | None)
    assert_type(change_picture(found), bytes)
    assert_type(reliability_picture(found), bytes | None)
    assert_type(backtest_sentences(found), list[str])


def files() -> None:
    rows = read_stage_updates(
        Path("s.csv"),
        format="csv",
        blank="leave",
        null_marker=None,
        encoding="utf-8",
        delimiter=",",
        pipelines={"Sales": ID},
        on_invalid="skip",
    )
    assert_type(rows, list[SourceRow])
    assert_type(rows[0].update, StageUpdateLike)
    assert_type(rows[0].place, str)
    assert_type(rows[0].errors, tuple[str, ...])
    of_a_frame = stage_rows(object(), blank="clear", pipelines={"Sales": str(ID)})
    assert_type(of_a_frame, list[SourceRow])
    assert_type(export_updates(rows, "again.jsonl", format="jsonl", null_marker=None), int)
    assert_type(export_stages([stage()], "s.yaml", format="yaml", pipelines={"Sales": ID}), int)
    assert_type(export_opportunity_stages(credentials(), "s.yaml", "yaml"), list[Stage])
    assert_type(export_opportunity_stages(credentials()), list[Stage])
    read_stage_updates("s.csv", format="xlsx")  # type: ignore[call-overload]


def plans() -> None:
    plan = plan_stage_updates(updates(), {stage().id: stage()}, None)
    assert_type(plan, StagePlan)
    assert_type(plan.workspace, Workspace | None)
    assert_type(plan.changes, tuple[StageChange, ...])
    assert_type(plan.unchanged, tuple[UUID, ...])
    assert_type(plan.digest, str)
    assert_type(plan.inverted(), StagePlan)
    assert_type(plan.changes[0].label, str)
    assert_type(plan.changes[0].fields, tuple[FieldChange, ...])
    assert_type(plan.changes[0].update(), StageUpdate)


def reports(report: StageReport) -> None:
    assert_type(report.counts, dict[Outcome, int])
    assert_type(report.succeeded, bool)
    assert_type(report.summary(), str)
    assert_type(report.retryable(), list[StageUpdate])
    assert_type(report.flow_run_id, UUID | None)
    assert_type(report.outcomes, tuple[StageOutcome, ...])
    outcome = report.outcomes[0]
    assert_type(outcome.outcome, Outcome)
    assert_type(outcome.stage_id, UUID | None)
    assert_type(outcome.error, str | None)
    assert_type(outcome.written, bool | None)
    assert_type(outcome.attempts, int)
    assert_type(outcome.place, str | None)
    assert_type(StageUpdatesFailed("why", report).report, StageReport)
    assert_type(RunNotRecorded("why", report).report, StageReport)
    assert_type(__version__, str)


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


OF_A_REQUEST: list[type[RuddrRequestError]] = [
    *(AnswerLost, ConnectionFailed, NoAnswer, UnexpectedResponse, ErrorResponse, BadRequest),
    *(Unauthorized, Forbidden, StageNotFound, MethodNotAllowed, StageConflict, WorkspaceLocked),
    *(TooManyRequests, ServerError),
]

OTHERS: list[type[RuddrError]] = [
    *(InvalidStageUpdates, SourceUnreadable, ExportFailed, HistoryRefused, ExtraMissing),
    *(InvalidCredentials, StageUpdatesFailed, RunNotRecorded, DriftFound, StageEdited),
    *(ValueNotKept, RunStopped, PlanNotFound, RunNotEnded, WorkspaceMismatch),
    GlobalConcurrencyLimitError,
]


def what_is_wrong(error: InvalidStageUpdates | HistoryRefused) -> None:
    assert_type(error.errors, tuple[str, ...])
