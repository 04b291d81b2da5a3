"""The pages, executed: their examples one after the other, and what they say of the code."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from inspect import getmembers
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from pydantic import SecretStr

import prefect_ruddr
from deployment.installation import running
from prefect_ruddr import RuddrCredentials, flows, sandbox
from prefect_ruddr.runs import approval
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.stages.plan import RISKY_PROBABILITY_CHANGE
from prefect_server import waiting_for
from runs.asking import Asked
from runs.records import flow_runs_that_wait, patches

from .pages import ADDRESS, PAGES, ROOT, Page


@pytest.fixture
def _default(prefect_api: None, ruddr_credentials: RuddrCredentials) -> Iterator[None]:
    """The block that the pages load."""
    ruddr_credentials.save("default", overwrite=True)
    yield
    RuddrCredentials.delete("default")


@pytest.mark.usefixtures("prefect_api")
def test_the_first_steps(capsys: pytest.CaptureFixture[str]) -> None:
    """Connect, find stages and their ids, change one, change many."""
    page = Page("docs/start.md")
    printed = {}
    with Sandbox(api_key="your-api-key", rate=None) as sandbox:
        for example in page.marked("example"):
            page.run(example, {}, sandbox)
            printed[example] = capsys.readouterr().out
        assert list(printed) == ["connect", "find", "one", "many"]
        assert printed["connect"] == "Acme Consulting\n"
        assert len(printed["find"].splitlines()) == len(sandbox.stages)
        assert f"{EXAMPLE_STAGE_ID} Negotiation 0.75" in printed["find"]
        one, *many = patches(sandbox)
        assert one == (EXAMPLE_STAGE_ID, {"isActive": False, "description": None})
        assert sorted(body["probability"] for _, body in many) == [0.3, 0.8]
        assert re.findall(r"^(\w+).* updated", printed["many"], re.M) == [
            "Negotiation",
            "Discovery",
        ]


@pytest.mark.usefixtures("_default")
def test_a_plan_is_previewed_applied_approved_and_undone(
    sandbox: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step leaves in Ruddr what the page says."""
    page = Page("docs/preview.md")
    assert list(page.marked("example")) == ["preview", "apply", "approve", "undo"]
    names: dict[str, Any] = {}
    page.run("preview", names)
    assert capsys.readouterr().out == page.marked("output")["preview"]
    assert patches(sandbox) == []
    page.run("apply", names)
    [(stage_id, body)] = patches(sandbox)
    assert (sandbox.stage(stage_id)["name"], body) == ("Discovery", {"probability": 0.4})
    monkeypatch.setattr(approval, "POLL_SECONDS", 0.05)
    others = [waiting["id"] for waiting in flow_runs_that_wait()]
    with ThreadPoolExecutor() as threads:
        ended: Any = threads.submit(copy_context().run, page.run, "approve", names)
        asked = Asked(ended, others)
        assert "**risky:** status_id changes" in asked.form
        assert sandbox.stage(stage_id)["statusId"] == "open"
        asked.answer(approve=True, digest=asked.digest)
    assert sandbox.stage(stage_id)["statusId"] == "won"
    page.run("undo", names)
    assert sandbox.stage(stage_id)["statusId"] == "open"


@pytest.mark.usefixtures("_default", "async_flows")
def test_async_flows_change_stages(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
    """One at a time, and many in a run."""
    page = Page("docs/async.md")
    assert list(page.marked("example")) == ["tasks", "bulk"]
    page.run("tasks", {})
    raised = int(capsys.readouterr().out.split()[0])
    assert raised == len(patches(sandbox)) > 1
    page.run("bulk", {})
    assert capsys.readouterr().out == "1 updated\n"


@pytest.mark.long
def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """As a project of somebody's own has them, with a server of Prefect's harness."""
    Page("docs/testing.md").write_files(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "4 passed" in ended.stdout


def test_a_changed_api_is_found_out(sandbox: Sandbox, tmp_path: Path) -> None:
    """`prefect-ruddr check` ends with 2, as the page on regenerating says."""
    sandbox.fail_next(100, replace={"color": "red"})
    ended = subprocess.run(
        ["bash", "-c", Page("docs/regenerate.md").marked("run")["check"]],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RUDDR_API_KEY": sandbox.api_key,
            "RUDDR_BASE_URL": sandbox.base_url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "color" in ended.stdout


@pytest.mark.parametrize("name", ["README.md", "docs/start.md"])
def test_the_sandbox_of_a_page_takes_its_key(name: str, tmp_path: Path) -> None:
    """Started by the command, but for the port, which may be taken here."""
    (command,) = Page(name).commands("sandbox")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    words = [sys.executable, *shlex.split(command.replace("8410", port))[1:]]
    credentials = RuddrCredentials(
        api_key=SecretStr("your-api-key"), base_url=ADDRESS.replace("8410", port)
    )
    with running(*words, environment=dict(os.environ), log=tmp_path / "log"):
        for _ in waiting_for("the sandbox"):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port))):
                break
        assert credentials.verify().name == "Acme Consulting"


# What there is to be known without a server.


def test_the_project_of_the_page_can_install_this_one() -> None:
    """It names it, and the same Pythons."""
    theirs = tomllib.loads(Page("docs/start.md").marked("file")["pyproject.toml"])["project"]
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert theirs["dependencies"] == [ours["name"]]
    assert theirs["requires-python"] == ours["requires-python"]


IN_THE_REFERENCE = re.findall(
    r"^::: (\S+)",
    "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "docs/reference").glob("*.md"))),
    re.MULTILINE,
)


def test_every_public_name_is_in_the_reference_once() -> None:
    """Who adds one adds it there; `mkdocs build --strict` finds one that is gone."""
    public = [f"prefect_ruddr.{name}" for name in prefect_ruddr.__all__ if name[:2] != "__"]
    public += [f"prefect_ruddr.sandbox.{name}" for name in sandbox.__all__]
    assert sorted(IN_THE_REFERENCE) == sorted([*public, "prefect_ruddr.errors"])


@pytest.mark.long
def test_the_site_has_the_pages_and_needs_no_network(tmp_path: Path) -> None:
    """Built as `make docs` builds it: no warning, and nothing that a browser would fetch."""
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True)
    built = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*.html")}
    wanted = {name.removeprefix("docs/").replace(".md", ".html") for name in PAGES[1:]}
    assert wanted | {"index.html", "reference/flows.html"} <= built.keys()
    fetched = re.compile(r"<(?:script|img|link|iframe)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//")
    assert [name for name, path in built.items() if fetched.search(path.read_text("utf-8"))] == []
    reference = built["reference/flows.html"].read_text("utf-8")
    assert "Change many stages: see the difference" in reference


@pytest.mark.parametrize("name", [name for name in PAGES if name != "docs/performance.md"])
def test_every_block_of_code_says_who_runs_it(name: str) -> None:
    """By a mark that the tests read, or by one that says why nobody does."""
    code = [block for block in Page(name).blocks if block.language not in {"text", "csv"}]
    assert [block.text for block in code if not block.mark] == []


def test_every_flow_is_on_the_page_about_deployments() -> None:
    """By the name that its entrypoint ends in."""
    table = Page("docs/deployment.md").text.split("| flow | what it does |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == flows.__all__


ASKING = {
    name: value.parameters.properties
    for name, value in getmembers(flows)
    if isinstance(value, Flow) and "approval" in value.parameters.properties
}


@pytest.mark.parametrize("flow", ASKING)
def test_a_form_says_what_risky_means(flow: str) -> None:
    """In the help of the field, so that nobody has to look it up."""
    said = " ".join(ASKING[flow]["approval"]["description"].split())
    assert "only for a risky plan: one in which" in said
    assert "a win probability moves by more than the step below" in said
    # A recalibration changes nothing but win probabilities.
    may_change_all = flow != "recalibrate_stage_probabilities"
    assert ("a status, a pipeline or an activity changes" in said) == may_change_all
    assert ("more stages change than the most below" in said) == ("most_changes" in ASKING[flow])
    assert ASKING[flow]["risky_probability_change"]["default"] == RISKY_PROBABILITY_CHANGE
    assert f"which is {RISKY_PROBABILITY_CHANGE} by default" in Page("docs/preview.md").text
