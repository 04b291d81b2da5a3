"""The generated client is what openapi.yaml gives, and a difference is noticed."""

from __future__ import annotations

import filecmp
import shutil
import subprocess
from pathlib import Path

import pytest

from docs.pages import Page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the client is generated from and with, and of the client."""
    copy = tmp_path_factory.mktemp("project")
    for name in ("scripts", "generated_client"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("openapi.yaml", "Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, copy)
    (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


def check_generated(project: Path) -> subprocess.CompletedProcess[str]:
    """Run the gate in a copy of the project."""
    return subprocess.run(
        [project / "scripts" / "check-generated"], capture_output=True, text=True, check=False
    )


def test_the_generated_client_is_what_the_contract_gives(project: Path) -> None:
    """Generating once more gives the committed files, byte for byte, and nothing else."""
    fresh = project / "fresh"
    subprocess.run([project / "scripts" / "generate", fresh], check=True)
    committed = project / "generated_client" / "ruddr_client"
    files = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(committed) for path in committed.rglob("*") if path.is_file()
    )
    _, different, unreadable = filecmp.cmpfiles(fresh, committed, files, shallow=False)
    assert (different, unreadable) == ([], [])


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        pytest.param("openapi.yaml", "summary: Change a stage", "summary: Alter it", id="contract"),
        pytest.param(
            "generated_client/ruddr_client/client.py", "timeout", "time_out", id="edited by hand"
        ),
    ],
)
def test_a_client_that_differs_from_the_contract_is_noticed(
    project: Path, file: str, before: str, after: str
) -> None:
    """`make check` fails for a changed contract and for a hand in the generated code."""
    path = project / file
    committed = path.read_text(encoding="utf-8")
    path.write_text(committed.replace(before, after, 1), encoding="utf-8")
    try:
        result = check_generated(project)
    finally:
        path.write_text(committed, encoding="utf-8")
    assert result.returncode == 1
    assert "run 'make generate' and commit" in result.stderr


def test_a_contract_that_the_generator_warns_about_is_refused(project: Path) -> None:
    """A warning of the generator means a part of the contract that it left out."""
    path = project / "openapi.yaml"
    committed = path.read_text(encoding="utf-8")
    path.write_text(committed.replace("#/components/schemas/Workspace'", "#/nowhere'"), "utf-8")
    try:
        result = check_generated(project)
    finally:
        path.write_text(committed, encoding="utf-8")
    assert result.returncode != 0


@pytest.mark.long
def test_the_page_on_a_changed_api_leads_to_a_client_that_fits(
    project: Path, tmp_path: Path
) -> None:
    """Its commands, one after the other: the gate says no, `make generate`, the gate says yes."""
    page = Page("docs/regenerate.md")
    ours = tmp_path / "ours"
    shutil.copytree(project, ours, symlinks=True)
    path = ours / "openapi.yaml"
    changed = path.read_text("utf-8").replace("summary: Change a stage", "summary: Alter it", 1)
    path.write_text(changed, "utf-8")

    def run(name: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", page.marked("run")[name]]
        return subprocess.run(command, cwd=ours, capture_output=True, text=True, check=False)

    assert "generated_client differs from openapi.yaml" in run("gate").stderr
    assert run("generate").returncode == 0
    assert run("gate").stdout == "generated_client is what openapi.yaml gives\n"
    assert "generated_client differs from openapi.yaml" in page.text
