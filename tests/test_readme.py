"""The README's promises, executed: its examples, and the commands that it names."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from docs.pages import PAGES, ROOT, Page
from prefect_ruddr.sandbox import Sandbox

README = Page("README.md")
NEGOTIATION = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"


@pytest.fixture
def readme_sandbox() -> Any:
    """A sandbox that takes the README's key."""
    with Sandbox(api_key="your-api-key", rate=None) as sandbox:
        yield sandbox


@pytest.mark.usefixtures("prefect_api")
def test_the_quick_start_does_what_it_says(readme_sandbox: Sandbox) -> None:
    """Run one after the other, the README's examples store, apply and undo."""
    names: dict[str, Any] = {}

    def run(example: str) -> dict[str, Any]:
        README.run(example, names, readme_sandbox)
        return dict(readme_sandbox.stage(NEGOTIATION))

    assert run("store")["probability"] == 0.75
    assert run("apply")["probability"] == 0.625
    assert names["report"].summary() == "1 updated"
    assert run("undo")["probability"] == 0.75
    assert list(README.marked("example")) == ["store", "apply", "undo"]


def test_every_make_target_that_the_readme_names_exists() -> None:
    """`make` alone lists every target, with a line of help, and the README's are among them."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make (\S+) +\S", listed, re.MULTILINE))
    assert set(re.findall(r"`make (\S+?)`|\$ make (\S+)", README.text)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets == set(re.findall(r"^\.PHONY: (\S+)", makefile, re.MULTILINE))


def test_every_page_that_the_readme_links_to_exists() -> None:
    """A reader follows no dead link into the repository."""
    links = re.findall(r"\]\((?!https?://)([^)#]+)", README.text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_leads_to_every_page() -> None:
    """Under "Read on", each with what it is about."""
    listed = re.findall(r"^- \[[^]]+\]\((\S+?)\): \S", README.text.split("## Read on")[1], re.M)
    assert {page for page in PAGES if page.startswith("docs/")} <= set(listed)


def test_the_first_picture_comes_within_two_screens() -> None:
    """What it is, what it promises, and what it looks like, before anything else."""
    before, picture, _ = README.text.partition("![")
    assert picture
    assert len(before.splitlines()) < 50
    assert "like `terraform plan` and `apply`, for your CRM's stages" in " ".join(before.split())


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


@pytest.mark.long
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
