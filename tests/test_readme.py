"""The README's promises, executed: its examples, and the commands that it names."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prefect_ruddr.sandbox import Sandbox

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
NEGOTIATION = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"


@pytest.fixture
def readme_sandbox() -> Any:
    """A sandbox that takes the README's key."""
    with Sandbox(api_key="your-api-key", rate=None) as sandbox:
        yield sandbox


@pytest.mark.usefixtures("prefect_api")
def test_the_quick_start_does_what_it_says(readme_sandbox: Sandbox) -> None:
    """Run one after the other, the README's examples store, apply, undo and update."""
    examples = dict(EXAMPLE.findall(README))
    names: dict[str, Any] = {}

    def run(example: str) -> dict[str, Any]:
        code = examples[example].replace(
            "http://127.0.0.1:8410/api/workspace", readme_sandbox.base_url
        )
        exec(compile(code, f"README.md, {example}", "exec"), names)  # noqa: S102  # our own text
        return dict(readme_sandbox.stage(NEGOTIATION))

    assert run("store")["probability"] == 0.75
    assert run("apply")["probability"] == 0.625
    assert names["report"].summary() == "1 updated"
    assert run("undo")["probability"] == 0.75
    closed = run("task")
    assert (closed["isActive"], closed["description"]) == (False, None)


def test_every_python_block_of_the_readme_is_executed() -> None:
    """No example stands in the README that the test above leaves out."""
    assert README.count("```python") == len(EXAMPLE.findall(README)) == 4


def test_every_make_target_that_the_readme_names_exists() -> None:
    """`make` alone lists every target, with a line of help, and the README's are among them."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make (\S+) +\S", listed, re.MULTILINE))
    assert set(re.findall(r"`make (\S+?)`|\$ make (\S+)", README)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == set(re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE))


def test_every_page_that_the_readme_links_to_exists() -> None:
    """A reader follows no dead link into the repository."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def processes_with(text: str) -> list[str]:
    """Return the processes whose environment or command line holds a text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
            if text.encode() in told:
                found.append(process.name)
    return found


def make(target: str, home: Path) -> str:
    """Run a target to its good end, and return what it printed."""
    ran = subprocess.run(
        ["make", target, f"RUN_HOME={home}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "", "quiet, but for what the example prints"
    return ran.stdout


def test_make_run_tells_its_story_and_make_undo_undoes_it(tmp_path: Path) -> None:
    """From deals to numbers with reasons, to pictures; and nothing is left running."""
    printed = make("run", tmp_path)
    assert "probability  0.75 → 0.6101" in printed
    assert "before and after" in printed
    assert "outside" in printed
    assert "agrees with the" in printed
    assert "Brier" in printed
    for picture in ("changes.png", "reliability.png"):
        assert str(tmp_path / picture) in printed
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert "18 stages, 6 changed, 6 PATCH requests" in printed
    assert "Flow run state: Completed (6 updated)" in printed
    assert "make ui" in printed
    assert "probability  0.6101 → 0.75" in make("undo", tmp_path)
    assert processes_with(str(tmp_path)) == []
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        logged = [message for (message,) in database.execute("SELECT message FROM log")]
    assert "Negotiation (New Business): probability 0.75 → 0.6101" in logged, "for make ui to show"
