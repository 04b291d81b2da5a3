"""A project of somebody's own that has installed the wheel and has nothing of this repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from deployment.installation import PATIENCE, waiting_for
from prefect_ruddr import RuddrCredentials
from prefect_ruddr.sandbox import Sandbox
from runs.records import child_runs
from runs.updates import updates_of
from starting.records import require_applied_and_undone

PREFECT_YAML = """
name: mine
pull:
  - prefect.deployments.steps.set_working_directory:
      directory: "{{ $PROJECT }}"
deployments:
  - name: mine
    entrypoint: flows.py:recalibrate
    work_pool:
      name: mine
"""


@pytest.mark.long
@pytest.mark.usefixtures("prefect_api")
def test_it_deploys_and_a_process_worker_runs_it(
    wheel: Path, sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tmp_path: Path
) -> None:
    """With a `prefect.yaml` and a flow of its own."""
    venv, project = tmp_path / "venv", tmp_path / "project"
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "-p", sys.executable, str(venv)], check=True)
    install = [*uv, "pip", "install", "-q", "-p", f"{venv}/bin/python", str(wheel)]
    subprocess.run(install, check=True, timeout=600)
    project.mkdir()
    (project / "prefect.yaml").write_text(PREFECT_YAML)
    flows = Path(__file__).with_name("users_flows.py")
    (project / "flows.py").write_text(flows.read_text())
    environment = os.environ | {
        "PREFECT_API_URL": PREFECT_API_URL.value(),
        "PREFECT_HOME": str(tmp_path / "home"),
        "PROJECT": str(project),
        "RUDDR_API_KEY": sandbox.api_key,
        "RUDDR_BASE_URL": sandbox.base_url,
    }

    def prefect(*words: str) -> None:
        command = [f"{venv}/bin/prefect", "--no-prompt", *words]
        done = subprocess.run(
            command,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    before = sandbox.stages
    prefect("work-pool", "create", "mine", "--type", "process")
    prefect("deploy", "--all")
    parameters = {"updates": updates_of(sandbox, 3)}
    started = run_deployment("recalibrate/mine", parameters=parameters, timeout=0)
    assert isinstance(started, FlowRun)
    prefect("worker", "start", "--pool", "mine", "--type", "process", "--run-once")

    with get_client(sync_client=True) as client:
        for _ in waiting_for("the end of the run"):
            ended = client.read_flow_run(started.id).state
            if ended and ended.is_final():
                break
    assert ended
    assert ended.is_completed(), ended
    (applied,) = child_runs(started.id)
    require_applied_and_undone(sandbox, ruddr_credentials, UUID(applied["id"]), before)
