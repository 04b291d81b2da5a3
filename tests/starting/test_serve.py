"""`flow.serve()`: a flow travels by value to the process that runs it, and works there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from deployment.installation import running
from docs.pages import Page
from prefect_ruddr import RuddrCredentials, apply_stage_updates
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_server import PATIENCE, waiting_for
from runs.records import child_runs
from runs.updates import updates_of
from starting.records import require_applied_and_undone

HERE = Path(__file__).parent

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def block(ruddr_credentials: RuddrCredentials) -> dict[str, Any]:
    """The credentials as a deployment's parameter: a reference to a block."""
    block_id = ruddr_credentials.save("served", overwrite=True)
    return {"$ref": {"block_document_id": str(block_id)}}


@pytest.fixture
def serve(sandbox: Sandbox, tmp_path: Path) -> Callable[..., Any]:
    """Serve a flow in a process of its own, have it run once, and return the run."""

    def run(program: str, function: str, deployment: str, **parameters: Any) -> FlowRun:
        with served(program, function, deployment, sandbox, tmp_path / "serve.log"):
            flow_run = run_deployment(
                deployment, parameters=parameters, timeout=PATIENCE, poll_interval=0.5
            )
        assert isinstance(flow_run, FlowRun)
        assert flow_run.state
        assert flow_run.state.is_completed(), (tmp_path / "serve.log").read_text()
        return flow_run

    return run


@contextmanager
def served(
    program: str, function: str, deployment: str, sandbox: Sandbox, log: Path
) -> Iterator[None]:
    command = (sys.executable, str(HERE / program), function)
    with running(*command, environment=environment_of(sandbox), log=log):
        wait_until_served(deployment)
        yield


def environment_of(sandbox: Sandbox) -> dict[str, str]:
    """Return what a program that serves, or asks for a run, finds in its environment."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "RUDDR_API_KEY": sandbox.api_key,
        "RUDDR_BASE_URL": sandbox.base_url,
    }


def wait_until_served(deployment: str) -> None:
    """Wait until Prefect knows the deployment."""
    with get_client(sync_client=True) as client:
        for _ in waiting_for(deployment):
            with suppress(ObjectNotFound):
                client.read_deployment_by_name(deployment)
                return


def test_the_script_of_the_page_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its two commands, as they stand: one serves, and one asks for a run."""
    page = Page("docs/serve.md")
    page.write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    with Sandbox(api_key="your-api-key", rate=None) as sandbox:
        environment = environment_of(sandbox)
        serving = ("bash", "-c", "\n".join(page.commands("serve")))
        with running(*serving, environment=environment, log=tmp_path / "serve.log"):
            wait_until_served("recalibrate/served")
            for command in page.commands("run"):
                subprocess.run(["bash", "-c", command], env=environment, check=True)
        assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.8


USERS = [
    pytest.param("users_flows.py", "recalibrate", id="a module", marks=pytest.mark.long),
    pytest.param(
        "users_annotated_flows.py",
        "recalibrate_annotated",
        id="a module whose annotations are strings",
        marks=pytest.mark.long,
    ),
]


@pytest.mark.parametrize(("program", "function"), USERS)
def test_a_users_flow_applies_updates(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    serve: Callable[..., FlowRun],
    program: str,
    function: str,
) -> None:
    """The run below it has the report, and its id takes everything back."""
    before = sandbox.stages
    deployment = f"{function.replace('_', '-')}/served"

    flow_run = serve(program, function, deployment, updates=updates_of(sandbox, 3))

    (applied,) = child_runs(flow_run.id)
    require_applied_and_undone(sandbox, ruddr_credentials, UUID(applied["id"]), before)


@pytest.mark.long
def test_apply_stage_updates_applies_updates(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    serve: Callable[..., FlowRun],
    block: dict[str, Any],
) -> None:
    """Served as it is, with a block for the credentials."""
    before = sandbox.stages
    flow_run = serve(
        "our_flows.py",
        "apply_stage_updates",
        "apply-stage-updates/served",
        ruddr_credentials=block,
        updates=updates_of(sandbox, 3),
    )
    require_applied_and_undone(sandbox, ruddr_credentials, flow_run.id, before)


@pytest.mark.long
def test_apply_stage_file_applies_a_file(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    serve: Callable[..., FlowRun],
    block: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Served as it is, with a path for the file."""
    before = sandbox.stages
    lines = "".join(f"{json.dumps(update)}\n" for update in updates_of(sandbox, 3))
    (tmp_path / "updates.jsonl").write_text(lines)
    flow_run = serve(
        "our_flows.py",
        "apply_stage_file",
        "apply-stage-file/served",
        ruddr_credentials=block,
        path_or_url=str(tmp_path / "updates.jsonl"),
    )
    require_applied_and_undone(sandbox, ruddr_credentials, flow_run.id, before)


@pytest.mark.long
def test_update_opportunity_stage_flow_changes_a_stage(
    sandbox: Sandbox, serve: Callable[..., FlowRun], block: dict[str, Any]
) -> None:
    """Served as it is, with one update."""
    (update,) = updates_of(sandbox, 1)
    serve(
        "our_flows.py",
        "update_opportunity_stage_flow",
        "update-opportunity-stage/served",
        ruddr_credentials=block,
        update=update,
    )
    assert sandbox.stage(update["id"])["description"] == update["description"]


@pytest.mark.long
def test_undo_stage_updates_undoes_a_run(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    serve: Callable[..., FlowRun],
    block: dict[str, Any],
) -> None:
    """Served as it is, with the id of a run that another process made."""
    before = sandbox.stages
    report = apply_stage_updates(ruddr_credentials, updates_of(sandbox, 3))
    serve(
        "our_flows.py",
        "undo_stage_updates",
        "undo-stage-updates/served",
        ruddr_credentials=block,
        flow_run_id=str(report.flow_run_id),
    )
    assert sandbox.stages == before
