"""`python -m prefect_ruddr.sandbox` as a real process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID
from prefect_ruddr.sandbox.__main__ import main

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "prefect_ruddr.sandbox"]
KEY = {"Authorization": "Bearer secret-1"}


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a sandbox on a free port; give its process and its base URL."""
    with subprocess.Popen(
        [*COMMAND, "--port", "0", "--api-key", "secret-1", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().rstrip("\n")
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_runs_until_it_is_told_to_stop(number: signal.Signals) -> None:
    """It prints its URL, answers, and ends quietly with 0, at once even if an answer hangs."""
    with running("--stages", "3", "--omit-pipeline") as (process, url):
        address = httpx.URL(url)
        with socket.create_connection((address.host, address.port or 0)) as hanging:
            hanging.sendall(
                b'GET / HTTP/1.1\r\nHost: sandbox\r\nSandbox-Fault: {"hang": true}\r\n\r\n'
            )
            answer = httpx.get(f"{url}/opportunity-stages", headers=KEY)
            assert len(answer.json()["results"]) == 3
            assert "opportunityPipelineId" not in answer.json()["results"][0]
            assert httpx.get(url).status_code == 401
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_an_answered_change_survives_kill(tmp_path: Path) -> None:
    """After SIGKILL right behind the answer the file holds the change, and it is served."""
    options = ("--state", str(tmp_path / "ruddr.json"), "--rate", "none")
    path = f"/opportunity-stages/{EXAMPLE_STAGE_ID}"
    with running(*options) as (process, url), httpx.Client(headers=KEY) as client:
        for thousandth in range(1, 101):
            last = client.patch(url + path, json={"probability": thousandth / 1000}).json()
        process.kill()
        process.wait(timeout=10)
    assert last in json.loads((tmp_path / "ruddr.json").read_text())["stages"]
    with running(*options) as (_, url):
        assert httpx.get(url + path, headers=KEY).json() == last


def test_a_taken_port_is_one_clear_line() -> None:
    """The address is named, and the status is 2."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"python -m prefect_ruddr.sandbox: 127.0.0.1, port {port}: Address already in use\n"
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--port", "x"], "argument --port: 'x' is not a port from 0 to 65535"),
        (["--port", "65536"], "argument --port: '65536' is not a port from 0 to 65535"),
        (["--host", "0.0.0.0"], "the host must be a loopback address such as 127.0.0.1"),  # noqa: S104
        (["--stages", "0"], "the number of stages must be at least 1, not 0"),
        (["--stages", "many"], "argument --stages: invalid int value: 'many'"),
        (["--rate", "0"], "the rate must be above 0 requests a second, not 0.0"),
        (["--rate", "fast"], "argument --rate: 'fast' is neither a number nor 'none'"),
        (["--burst", "0"], "the burst must be at least 1 request, not 0"),
        (["--api-key", "a b"], "the API key must be printable ASCII without spaces"),
        (["--seed", "x"], "argument --seed: invalid int value: 'x'"),
        (["--state", "/nowhere/ruddr.json"], "/nowhere/ruddr.json.new: No such file or directory"),
        (["--stats", "x"], "unrecognized arguments: --stats x"),
        (["--state", __file__], "test_command.py is not a JSON file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_bad_option_is_one_clear_line(
    capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    """What is wrong goes to standard error in one line, and the status is 2."""
    with pytest.raises(SystemExit) as ended:
        main(options)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith("python -m prefect_ruddr.sandbox: ")
    assert text in err
    assert err.count("\n") == 1


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """The help says what each option does and how to ask for trouble."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    out = capsys.readouterr().out
    assert ended.value.code == 0
    for option in ("host", "port", "api-key", "stages", "rate", "burst", "seed", "state"):
        assert f"--{option} " in out
    assert "Sandbox-Fault" in out
    assert "/sandbox/faults" in out
