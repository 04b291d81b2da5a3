"""What is installed: the wheel's contents, its requirements, and a plain install that works."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from configparser import ConfigParser
from email import message_from_bytes
from email.message import Message
from importlib import import_module
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGES = (ROOT / "generated_client/ruddr_client", ROOT / "prefect_flows/prefect_ruddr")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Run with the wheel installed, and nothing of this repository in reach.
FIRST_MINUTES = """
import asyncio, os, subprocess, sys
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr
import prefect_ruddr
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

async def deploy_and_schedule():
    flow = prefect_ruddr.update_opportunity_stage_flow
    deployment = await flow.ato_deployment("plain", cron="0 6 * * *")
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="ruddr", type="process"))
        assert await client.read_workers_for_work_pool("ruddr") == []
        path = f"/deployments/{await deployment.aapply()}/schedule"
        await client.request("POST", path)
        assert len(await client.read_flow_runs()) > 0

def apply_and_undo(sandbox, credentials):
    before = sandbox.stages
    updates = [{"id": stage["id"], "description": "Reviewed."} for stage in before]
    report = prefect_ruddr.apply_stage_updates(credentials, updates)
    assert report.counts["updated"] == len(updates) == 18, report.summary()
    assert prefect_ruddr.undo_stage_updates(credentials, report.flow_run_id).succeeded
    assert sandbox.stages == before

def register_the_block():
    command = [sys.executable, "-m", "prefect", "block", "register", "-m", "prefect_ruddr"]
    environment = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value()}
    printed = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    assert b"Ruddr Credentials" in printed, printed

assert prefect_ruddr.__file__.startswith(sys.prefix), prefect_ruddr.__file__
with Sandbox() as sandbox, prefect_test_harness(server_startup_timeout=120):
    register_the_block()
    asyncio.run(deploy_and_schedule())
    credentials = prefect_ruddr.RuddrCredentials(
        api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url
    )
    update = {"id": EXAMPLE_STAGE_ID, "probability": 0.625}
    stage = prefect_ruddr.update_opportunity_stage_flow(credentials, update)
    assert stage.probability == sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.625
    assert [request.method for request in sandbox.requests] == ["PATCH"]
    apply_and_undo(sandbox, credentials)
print("it works")
"""


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """What the wheel tells an index."""
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_bytes(archive.read(path))


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    """All files of the two packages, the contract that the sandbox reads, and the metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {
        path.relative_to(package.parent).as_posix()
        for package in PACKAGES
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    } | {"prefect_ruddr/openapi.yaml"}
    assert {"ruddr_client/py.typed", "prefect_ruddr/py.typed"} <= expected
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_wheel_is_a_prefect_collection(wheel: Path) -> None:
    """Prefect finds the block type by this entry point, without an import by the user."""
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
        entry_points = ConfigParser()
        entry_points.read_string(archive.read(path).decode())
    [module] = dict(entry_points["prefect.collections"]).values()
    assert import_module(module).RuddrCredentials.get_block_type_slug() == "ruddr-credentials"


def test_what_is_required_is_what_is_imported() -> None:
    """No requirement without an import of it, and no import that only happens to be there."""
    imported = {
        name
        for package in PACKAGES
        for path in package.rglob("*.py")
        for name in _top_level_imports(path)
        if name not in sys.stdlib_module_names | {package.name for package in PACKAGES}
    }
    distributions = packages_distributions()
    used = {_normal(distributions[name][0]) for name in imported}
    # What an extra is for that is not imported: a task runner, which the user makes.
    chosen = {_normal(Requirement(text).name) for text in PROJECT["optional-dependencies"]["dask"]}
    stated = [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    required = {_normal(Requirement(text).name) for text in stated}
    # pydantic-core is a part of pydantic.
    assert required == (used | chosen) - {"pydantic-core"}


def test_every_locked_requirement_has_hashes_and_names_no_index() -> None:
    """The lock installs the same bytes from any index."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    assert not re.search(r"^\s*-(?!-hash=)", lock, re.MULTILINE)
    requirements = re.split(r"\n(?=[a-z0-9])", lock.strip())
    assert len(requirements) > 50
    pinned = re.compile(
        r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+( ; [^\n]+?)? \\\n    --hash=sha256:[0-9a-f]{64}"
    )
    assert [text for text in requirements if not pinned.match(text)] == []


def test_the_page_on_an_index_has_no_link_or_picture_that_breaks_there(metadata: Message) -> None:
    """It is the README; what leads into the repository is a text or a caption there."""
    page = str(metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert page.startswith("# prefect-ruddr\n")
    targets = re.findall(r"\]\(([^)]*)\)|(?:src|href)=[\"']([^\"']*)", page)
    led_astray = [target for pair in targets for target in pair if target]
    assert [target for target in led_astray if not target.startswith("https://")] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert page.count("```") == readme.count("```")
    assert re.findall("^#.*", page, re.MULTILINE) == re.findall("^#.*", readme, re.MULTILINE)


def test_the_metadata_says_what_an_index_shows(metadata: Message) -> None:
    """Who keeps it, what people search for, and the Pythons that `make test-pythons` tries."""
    assert metadata["Version"] == "0.1.0"
    assert metadata["Author"] == "prefect-ruddr maintainers"
    assert {"prefect", "reverse etl", "revops", "terraform"} <= set(metadata["Keywords"].split(","))
    said = set(re.findall(r"Python :: (3\.\d+)", "\n".join(metadata.get_all("Classifier", []))))
    tried = (ROOT / "scripts/test-pythons").read_text(encoding="utf-8")
    [versions] = re.findall("for version in (.*); do", tried)
    assert {"3.11", "3.12", "3.13"} <= said <= set(versions.split())


@pytest.mark.long
@pytest.mark.wheel
def test_a_plain_install_works(wheel: Path, tmp_path: Path) -> None:
    """Without the lock: Prefect takes a deployment, plans its runs, and updates arrive."""
    uv = [sys.executable, "-m", "uv"]
    python = str(tmp_path / "venv" / "bin" / "python")
    subprocess.run([*uv, "venv", "-q", "-p", sys.executable, str(tmp_path / "venv")], check=True)
    subprocess.run([*uv, "pip", "install", "-q", "-p", python, str(wheel)], check=True, timeout=600)
    done = subprocess.run(
        [python, "-I", "-c", FIRST_MINUTES],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.endswith("it works\n"), done.stderr
    sandbox = [python, "-I", "-m", "prefect_ruddr.sandbox", "--help"]
    assert b"usage" in subprocess.run(sandbox, check=True, capture_output=True, timeout=60).stdout


def _top_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
