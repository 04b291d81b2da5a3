"""What a run that fails prints: few lines, the reason last, and no frames that say nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, temporary_settings

from prefect_ruddr import RuddrCredentials, apply_stage_updates
from prefect_ruddr.records.plan_table import PLAN_KEY
from prefect_ruddr.runs import run as runs_run
from prefect_ruddr.sandbox import Sandbox

from .records import artifacts, eventually, logs, run
from .updates import updates_of

SCRIPT = """
import os
from prefect_ruddr import RuddrCredentials, apply_stage_updates
ids = os.environ["STAGES"].split()
apply_stage_updates(RuddrCredentials.from_env(), [{"id": i, "probability": 0.123} for i in ids])
"""

LINES_OF_ITS_OWN = 13
"""What a run that fails prints beside its plan and its steps: four or five lines of its log,
Python's traceback of the caller, and the reason."""

LINES_OF_A_STEP = 3
"""What Prefect prints of a task run that ends as failed."""


def environment_of(folder: Path, sandbox: Sandbox, stages: list[str], key: str) -> dict[str, str]:
    """Return the environment of a script that applies updates."""
    inherited = {name: value for name, value in os.environ.items() if name[:8] != "PREFECT_"}
    here = {
        "PREFECT_API_URL": str(PREFECT_API_URL.value()),
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "RUDDR_API_KEY": key,
        "RUDDR_BASE_URL": sandbox.base_url,
        "STAGES": " ".join(stages),
    }
    return inherited | here


def printed(sandbox: Sandbox, folder: Path, stages: list[str], key: str) -> list[str]:
    """Run a script that applies updates, and return the lines of its standard error."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=environment_of(folder, sandbox, stages, key),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    # Prefect may say at the end that it still sends what it records; Python underlines code.
    return [
        line
        for line in ended.stderr.splitlines()
        if "Still processing items" not in line and set(line) - set(" ~^")
    ]


def test_a_wrong_key_is_one_traceback_with_the_reason_last(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Python's own, of the caller's line; neither the step nor the flow adds one."""
    lines = printed(sandbox, tmp_path, [sandbox.stages[0]["id"]], "rk_wrong_4711")
    assert [line for line in lines if "Traceback" in line] == ["Traceback (most recent call last):"]
    assert "HTTP 401: The API key is missing, wrong or revoked." in lines[-1]
    assert lines[-1].startswith("prefect_ruddr.stages.outcome.StageUpdatesFailed: 1 not attempted")
    assert len(lines) <= LINES_OF_ITS_OWN + LINES_OF_A_STEP, "\n".join(lines)


@pytest.mark.long
def test_a_step_that_fails_costs_three_lines_and_the_error_says_where_all_are(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """However many there are: the error names three and the artifact that has all."""
    stages = [stage["id"] for stage in sandbox.stages[:8]]
    for stage in stages:
        sandbox.make_read_only(stage)
    lines = printed(sandbox, tmp_path, stages, sandbox.api_key)
    assert sum("Traceback" in line for line in lines) == 1
    assert lines[-1].endswith("; and 5 more (see artifact ruddr-stage-summary)")
    plan = 2 + 2 * len(stages)
    most = LINES_OF_ITS_OWN + plan + LINES_OF_A_STEP * len(stages)
    assert len(lines) <= most, "\n".join(lines)


def test_the_log_holds_the_plan_and_where_all_of_it_is(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Before the first write, with the address of the artifact in Prefect's UI."""
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example.org/"}):
        ended = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 1))
    lines = [line["message"] for line in eventually(lambda: logs(ended.flow_run_id), whole)]
    [plan] = [line for line in lines if line.startswith("Plan ")]
    [artifact] = artifacts(ended.flow_run_id, PLAN_KEY)
    assert plan.endswith(
        f"  All of it: https://prefect.example.org/artifacts/artifact/{artifact['id']}"
    )
    [written] = [
        line for line in lines if line.startswith("Negotiation (pipeline b9c85ac3): description ")
    ]
    assert lines.index(plan) < lines.index(written)


def whole(lines: list[dict[str, Any]]) -> bool:
    """Tell whether the log has its end."""
    return any(line["message"] == "1 updated" for line in lines)


@pytest.mark.long
def test_a_terminal_shows_the_plan_as_a_coloured_diff(sandbox: Sandbox, tmp_path: Path) -> None:
    """Once, with where all of it is; the run's log in Prefect has it in plain text."""
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        stage = sandbox.stages[0]["id"]
        environment = environment_of(tmp_path, sandbox, [stage], sandbox.api_key)
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            cwd=tmp_path,
            env=environment | {"TERM": "xterm-256color"},
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # the terminal is closed when the process ends
            while some := terminal.read(4096):
                shown += some
        assert process.wait() == 0
    text = shown.decode()
    assert text.count("would change\x1b[0m") == 1
    assert re.search(r"\x1b\[[0-9;]*31m\S+\x1b\[0m → \x1b\[[0-9;]*32m0\.123\x1b", text)
    assert "All of it: " in text


def test_what_nobody_expected_is_logged_with_every_frame(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A mistake of ours is looked for by its frames, and the error still says what led to it."""

    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(runs_run, "publish_plan", break_down)
    state = apply_stage_updates(ruddr_credentials, updates_of(sandbox, 1), return_state=True)
    error = state.result(raise_on_failure=False)
    assert isinstance(error, Exception)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert "in break_down" in caplog.text
