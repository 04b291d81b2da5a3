"""A project of somebody's own that has installed the wheel and has nothing of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from docs.pages import ROOT, Page
from prefect_ruddr import RuddrCredentials, flows
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_server import waiting_for
from runs.records import eventually

PAGE = Page("docs/deployment.md")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    folder = tmp_path / "our-pipelines"
    folder.mkdir()
    PAGE.write_files(folder)
    return folder


@pytest.fixture
def bash(project: Path, sandbox: Sandbox, tmp_path: Path) -> Callable[..., str]:
    """Run a command of the page in the project, in an environment of its own."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    environment = os.environ | {
        "PATH": f"{venv}/bin:{os.environ['PATH']}",
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(tmp_path / "home"),
        "RUDDR_BASE_URL": sandbox.base_url,
    }

    def run(command: str, typed: str = "") -> str:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            input=typed,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


@pytest.mark.long
@pytest.mark.usefixtures("prefect_api")
def test_the_pages_lead_from_the_wheel_to_a_deployment_that_runs(
    project: Path, bash: Callable[..., str], sandbox: Sandbox
) -> None:
    """Each command as it stands: build, install, deploy, save the key, run, pause, resume."""
    assert Page("README.md").commands("wheel") == Page("docs/start.md").commands("wheel")
    (project.parent / "prefect-ruddr").symlink_to(ROOT)
    bash(Page("docs/start.md").commands("wheel")[0])
    bash("\n".join(["set -e", *PAGE.commands("deploy")]))
    bash("\n".join(["set -e", *PAGE.commands("key")]), typed=f"{sandbox.api_key}\n")
    (worker,) = PAGE.commands("worker")
    (project / "automation.yaml").write_text(PAGE.marked("automation")["pause"], "utf-8")
    assert Page("docs/automations.md").commands("create") == PAGE.commands("automation")
    bash(PAGE.commands("automation")[0])

    before = sandbox.stages
    nightly = ended(run_once("nightly/nightly", bash, worker))
    assert nightly.state
    assert nightly.state.is_completed(), nightly.state
    bash(PAGE.commands("run")[0])
    bash(f"{worker} --run-once")
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.625
    assert sandbox.stages != before

    file = "apply-stage-file"
    failed = ended(run_once(f"{file}/{file}", bash, worker, path_or_url="none.csv"))
    assert failed.state
    assert failed.state.is_failed(), failed.state
    paused = eventually(lambda: deployment(file), lambda found: found.paused)
    (resume,) = PAGE.commands("resume")
    bash(resume.replace("DEPLOYMENT_ID", str(paused.id)))
    assert not deployment(file).paused

    key: Any = RuddrCredentials.load("default")
    key.model_copy(update={"global_concurrency_limit": "ours"}).save("default", overwrite=True)
    bash(PAGE.commands("limit")[0])
    bash("prefect global-concurrency-limit inspect ours")


def run_once(name: str, bash: Callable[..., str], worker: str, **parameters: Any) -> UUID:
    """Ask for a run of a deployment, and let a worker start it."""
    asked = run_deployment(name, parameters=parameters, timeout=0)
    assert isinstance(asked, FlowRun)
    bash(f"{worker} --run-once")
    return asked.id


def ended(flow_run_id: UUID) -> FlowRun:
    """Wait for the end of a run."""
    with get_client(sync_client=True) as client:
        for _ in waiting_for(f"the end of flow run {flow_run_id}"):
            found = client.read_flow_run(flow_run_id)
            if found.state and found.state.is_final():
                return found
    raise AssertionError("the wait returns or raises")


def deployment(name: str) -> DeploymentResponse:
    """Read a deployment that is called as its flow."""
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(f"{name}/{name}")


def test_a_schedule_of_the_page_is_one_of_its_prefect_yaml() -> None:
    """The lines to put there are of a deployment that is there, and give what its flow needs."""
    deployed = yaml.safe_load(PAGE.marked("file")["prefect.yaml"])["deployments"]
    for name, text in PAGE.marked("schedule").items():
        [found] = [each for each in deployed if each["name"] == name]
        [schedule] = yaml.safe_load(text)["schedules"]
        given = {*schedule["parameters"], *found["parameters"]}
        assert required(found["entrypoint"].rpartition(".")[2]) <= given


def required(flow: str) -> set[str]:
    """Return the parameters that a flow of ours has no default for."""
    return set(getattr(flows, flow).parameters.required)
