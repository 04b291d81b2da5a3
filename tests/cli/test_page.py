"""docs/command.md, executed, and compared with the command."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.pages import Page
from prefect_ruddr.cli import app
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

PAGE = Page("docs/command.md")
EXAMPLES = [block for block in PAGE.blocks if block.mark == "run"]
COMMANDS = [name for name in app if name[0] != "-"]


def bash(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a script to its end; return its exit code and all that it printed."""
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout


@pytest.mark.long
def test_the_shell_examples_do_what_they_say(
    with_prefect: dict[str, str], tmp_path: Path, sandbox: Sandbox
) -> None:
    """One after the other, each ends with the code that stands above it."""
    said = {}
    for block in EXAMPLES:
        code, said[block.text] = bash(block.text, tmp_path, with_prefect)
        # What stands before a pipe may end with 2: it is what was asked for.
        assert code == int(block.name) or "| python" in block.text, said[block.text]
    outputs = list(said.values())
    assert "0 would change" in outputs[1]
    assert "0.75 → 0.8" in outputs[2]
    assert "Negotiation [{'field': 'probability'" in outputs[3]
    assert outputs[4].count("Flow run") == 2
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.75


def test_every_shell_example_is_executed() -> None:
    """All but the one that starts a sandbox, which the tests do themselves."""
    assert PAGE.text.count("```shell") == len(EXAMPLES) + 1


def step_of_the_job(name: str) -> dict[str, Any]:
    """Return a step of the job that comments a pull request."""
    [source] = [block.text for block in PAGE.blocks if block.language == "yaml"]
    steps: list[dict[str, Any]] = yaml.safe_load(source)["jobs"]["plan"]["steps"]
    [found] = [step for step in steps if step.get("name") == name]
    return found


@pytest.mark.parametrize(
    ("probability", "passes", "text"),
    [
        pytest.param("0.8", True, "0.75 → 0.8", id="changes"),
        pytest.param("0.75", True, "0 would change", id="no change"),
        pytest.param("8", False, "probability = 8", id="an error"),
    ],
)
def test_the_job_comments_the_plan(
    environment: dict[str, str], tmp_path: Path, probability: str, passes: bool, text: str
) -> None:
    """Its step runs as it stands: it fails for an error alone, and the comment says why."""
    step = step_of_the_job("Plan")
    (tmp_path / "stages.yaml").write_text(
        f"stages:\n  - id: {EXAMPLE_STAGE_ID}\n    probability: {probability}\n", encoding="utf-8"
    )
    code, printed = bash(f"set -e\n{step['run']}", tmp_path, environment)
    assert (code == 0) is passes, printed
    comment = (tmp_path / "comment.md").read_text(encoding="utf-8").splitlines()
    assert text in "\n".join(comment)
    assert all(line.startswith("    ") for line in comment[2:])


def test_the_job_edits_its_last_comment(environment: dict[str, str], tmp_path: Path) -> None:
    """Its other step calls GitHub's command with the file that the first one has written."""
    step = step_of_the_job("Comment")
    gh = tmp_path / "gh"
    gh.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    gh.chmod(0o755)
    environment["PULL_REQUEST"] = "https://example.org/pull/1"
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    code, printed = bash(step["run"], tmp_path, environment)
    assert code == 0
    assert printed.split() == [
        *("pr", "comment", "https://example.org/pull/1", "--body-file", "comment.md"),
        *("--edit-last", "--create-if-none"),
    ]
    assert set(step["env"]) == {"GH_TOKEN", "PULL_REQUEST"}
    assert step["if"] == "always()"  # a plan with an error is commented, too


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """Who adds one writes it down."""
    assert f"`prefect-ruddr {name}" in PAGE.text
    described = PAGE.text.split("## Options")[1].split("\n## ")[0]
    options = {
        option
        for argument in app[name].assemble_argument_collection()
        for option in argument.names
        if option.startswith("--")
    }
    assert [option for option in sorted(options) if f"`{option}" not in described] == []


def test_the_page_names_no_option_that_is_not_there() -> None:
    """One that was removed is removed here too."""
    there = {
        option
        for name in COMMANDS
        for argument in app[name].assemble_argument_collection()
        for option in argument.names
    }
    described = PAGE.text.split("## Options")[1].split("\n## ")[0]
    assert set(re.findall(r"`(--[a-z-]+)", described)) <= there | {"--help"}
