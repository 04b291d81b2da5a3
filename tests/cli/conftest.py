"""Runs the command against the sandbox: in this process, or in one of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL

from prefect_ruddr.cli import main
from prefect_ruddr.sandbox import Sandbox

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """What the command finds: the key to the sandbox, a folder of its own, and no Prefect API."""
    inherited = {name: value for name, value in os.environ.items() if name[:8] != "PREFECT_"}
    return {
        **inherited,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "RUDDR_API_KEY": sandbox.api_key,
        "RUDDR_BASE_URL": sandbox.base_url,
    }


@pytest.fixture
def with_prefect(environment: dict[str, str], prefect_api: None) -> dict[str, str]:
    """The same, and the session's Prefect API."""
    environment["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
    return environment


@pytest.fixture
def command(
    environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run the command to its end in this process, in a folder of its own."""
    logger = logging.getLogger("prefect_ruddr")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)
    # What the command would set for its process.
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        logger.handlers.clear()  # each names the standard error of its time
        for name, value in {**environment, **more}.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        printed, said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, printed, said)

    return run


@pytest.fixture
def process(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run `prefect-ruddr` to its end as a process, in a folder of its own."""

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["prefect-ruddr", *arguments],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )

    return run
