"""A Prefect server with the deployments in it, and the processes it is made of."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from prefect_ruddr.sandbox import Sandbox
from prefect_server import PATIENCE, free_port, wait_until_healthy, waiting_for

API_KEY = "rk_deployed_6b0d93e1f27c"
ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Installation:
    """A Prefect server of its own, with the deployments in it and a worker on the pool.

    Attributes:
        api: A client of the server's API.
        environment: What a command line that talks to this server has in its environment.
        files: Everything that the server, the worker and the runs write is in here.
        deploy_output: What `make deploy` printed.
    """

    api: httpx.Client
    environment: dict[str, str]
    files: Path
    deploy_output: str

    def prefect(self, *words: str) -> str:
        """Run Prefect's command line to its end and return what it printed."""
        return run_to_end(str(BIN / "prefect"), *words, environment=self.environment)

    def deploy(self) -> str:
        """Run `make deploy` and return what it printed."""
        return make_deploy(self.environment)

    def get(self, path: str) -> Any:
        """Read one object of Prefect's API."""
        return self.api.get(path).raise_for_status().json()

    def deployment(self, flow: str = "update-opportunity-stage") -> Any:
        """A flow's deployment as the API serves it, which is what the UI makes the form of."""
        return self.get(f"/deployments/name/{flow}/{flow}")

    def create_run(
        self, flow: str = "update-opportunity-stage", **parameters: Any
    ) -> httpx.Response:
        """Ask for a run as the form does: the parameters that were filled in, and no others."""
        path = f"/deployments/{self.deployment(flow)['id']}/create_flow_run"
        return self.api.post(path, json={"parameters": parameters})

    def run(self, flow: str = "update-opportunity-stage", **parameters: Any) -> Any:
        """Ask for a run, wait for its end and return it."""
        run_id = self.create_run(flow, **parameters).raise_for_status().json()["id"]
        ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
        for _ in waiting_for(f"the end of flow run {run_id}"):
            run = self.get(f"/flow_runs/{run_id}")
            if run["state_type"] in ended:
                return run
        raise AssertionError("the wait returns or raises")

    def runs(self, flow: str = "update-opportunity-stage") -> int:
        """How many runs of a flow the server knows, of whatever state."""
        of_flow = {"flows": {"name": {"any_": [flow]}}}
        count: int = self.api.post("/flow_runs/count", json=of_flow).raise_for_status().json()
        return count


@contextmanager
def installed(
    files: Path, sandbox: Sandbox, *, workers: int = 1, **settings: str
) -> Iterator[Installation]:
    """Start a server, deploy, save the block and start workers, as docs/deployment.md does.

    Args:
        files: Where all of it writes to.
        sandbox: The Ruddr that the block leads to.
        workers: How many there are, for one run each where there are several.
        settings: Settings of Prefect, by the names of their environment variables.
    """
    port = str(free_port())
    url = f"http://127.0.0.1:{port}/api"
    environment = (
        {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        | {
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": url,
            "PREFECT_HOME": str(files / "home"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
        }
        | settings
    )
    prefect = str(BIN / "prefect")
    with ExitStack() as stack:
        serve = (prefect, "server", "start", "--host", "127.0.0.1", "--port", port)
        stack.enter_context(running(*serve, environment=environment, log=files / "server.log"))
        api = stack.enter_context(httpx.Client(base_url=url, timeout=30, transport=Patient()))
        wait_until_healthy(url)
        deploy_output = make_deploy(environment)
        save = "from prefect_ruddr import RuddrCredentials as R; R.from_env().save('default')"
        key = {"RUDDR_API_KEY": sandbox.api_key, "RUDDR_BASE_URL": sandbox.base_url}
        run_to_end(sys.executable, "-c", save, environment=environment | key)
        work = [prefect, "worker", "start", "--pool", "ruddr", "--type", "process"]
        if workers > 1:
            run_to_end(
                *(prefect, "work-pool", "clear-concurrency-limit", "ruddr"), environment=environment
            )
            work += ["--limit", "1"]
        for number in range(workers):
            log = files / f"worker-{number}.log"
            stack.enter_context(running(*work, environment=environment, log=log))
        yield Installation(api, environment, files, deploy_output)


class Patient(httpx.HTTPTransport):
    """Asks again when the server's SQLite was busy, as Prefect's own client does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Return the first answer that is not 503."""
        for _ in waiting_for("the server's database"):
            response = super().handle_request(request)
            if response.status_code != 503:
                return response
            response.close()
        raise AssertionError("the wait returns or raises")


@contextmanager
def running(*words: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """Run a command line in a session of its own, which ends with the context."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            words, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            # What is left of the session that this process started.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def make_deploy(environment: dict[str, str]) -> str:
    """Run `make deploy` without a terminal and return what it printed."""
    # -o: the environment of the tests is the one to deploy from, whatever make thinks of it.
    make = ("make", "-o", ".venv/.ready", "deploy", f"BIN={BIN}")
    return run_to_end(*make, environment=environment)


def run_to_end(*words: str, environment: dict[str, str]) -> str:
    """Run a command line that has to succeed and return what it printed."""
    done = subprocess.run(
        words,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
