"""Every stage as a file that can be edited and given back, and as a table with ids."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prefect import flow

from prefect_ruddr import (
    InvalidStageUpdates,
    RuddrCredentials,
    Stage,
    aexport_opportunity_stages,
    apply_stage_file,
    export_opportunity_stages_flow,
)
from prefect_ruddr.records.stage_table import STAGES_KEY
from prefect_ruddr.sandbox import Sandbox
from runs.records import patches, run, table


@pytest.mark.parametrize("name", ["stages.csv", "stages.jsonl", "stages.parquet", "stages.yaml"])
def test_what_was_exported_and_given_back_changes_nothing(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tmp_path: Path, name: str
) -> None:
    """In each format, for every stage of the workspace."""
    path = str(tmp_path / name)
    stages: list[Stage] = run(export_opportunity_stages_flow, ruddr_credentials, path).result
    assert {str(stage.id) for stage in stages} == {stage["id"] for stage in sandbox.stages}
    given_back = run(apply_stage_file, ruddr_credentials, path)
    assert given_back.outcomes == ["unchanged"] * len(stages)
    assert patches(sandbox) == []


def test_the_table_shows_ids_to_people_who_have_only_the_ui(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Also without a file, with the pipeline by the name that the block gives it."""
    pipeline = sandbox.pipelines[0]
    named = ruddr_credentials.model_copy(update={"pipelines": {"Sales": pipeline["id"]}})
    ended = run(export_opportunity_stages_flow, named)
    rows = table(ended.flow_run_id, STAGES_KEY)
    assert [row["id"] for row in rows] == [str(stage.id) for stage in ended.result]
    in_it = [s for s in sandbox.stages if s["opportunityPipelineId"] == pipeline["id"]]
    assert [row["pipeline"] for row in rows].count("Sales") == len(in_it)
    assert list(rows[0])[:3] == ["stage", "pipeline", "id"]


@pytest.mark.usefixtures("async_flows")
def test_the_async_version_writes_the_same_file(
    ruddr_credentials: RuddrCredentials, tmp_path: Path
) -> None:
    """From an event loop, byte by byte."""

    @flow
    async def backup() -> list[Stage]:
        return await aexport_opportunity_stages(ruddr_credentials, tmp_path / "async.yaml")

    stages = asyncio.run(backup())
    sync = run(export_opportunity_stages_flow, ruddr_credentials, str(tmp_path / "sync.yaml"))
    assert sync.result == stages
    assert (tmp_path / "async.yaml").read_bytes() == (tmp_path / "sync.yaml").read_bytes()


def test_a_name_that_says_no_format_is_refused(
    ruddr_credentials: RuddrCredentials, tmp_path: Path
) -> None:
    """And no file is written."""
    ended = run(export_opportunity_stages_flow, ruddr_credentials, str(tmp_path / "stages"))
    assert isinstance(ended.result, InvalidStageUpdates)
    assert not list(tmp_path.glob("stages*"))
