"""Prefect as a team runs it: a server, `make deploy`, a saved block, a process worker."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from prefect_ruddr.sandbox import Sandbox

from .installation import (
    BIN,
    Installation,
    Patient,
    make_deploy,
    run_to_end,
    running,
    wait_until_healthy,
)

API_KEY = "rk_deployed_6b0d93e1f27c"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox Ruddr for all runs of the module."""
    with Sandbox(api_key=API_KEY, rate=None) as listening:
        yield listening


@pytest.fixture(scope="module")
def installation(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A server, the deployments, the block and a worker, in the order of docs/deployment.md."""
    files = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    url = f"http://127.0.0.1:{port}/api"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")
    } | {
        "DO_NOT_TRACK": "1",
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(files / "home"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "0.5",
    }
    prefect = str(BIN / "prefect")
    with ExitStack() as stack:
        serve = (prefect, "server", "start", "--host", "127.0.0.1", "--port", port)
        stack.enter_context(running(*serve, environment=environment, log=files / "server.log"))
        api = stack.enter_context(httpx.Client(base_url=url, timeout=30, transport=Patient()))
        wait_until_healthy(api)
        deploy_output = make_deploy(environment)
        save = "from prefect_ruddr import RuddrCredentials as R; R.from_env().save('default')"
        key = {"RUDDR_API_KEY": API_KEY, "RUDDR_BASE_URL": sandbox.base_url}
        run_to_end(sys.executable, "-c", save, environment=environment | key)
        work = (prefect, "worker", "start", "--pool", "ruddr", "--type", "process")
        stack.enter_context(running(*work, environment=environment, log=files / "worker.log"))
        yield Installation(api, environment, files, deploy_output)
