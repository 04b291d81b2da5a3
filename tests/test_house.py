"""The rules of the house: who may import whom, what is public, and what every part must have."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prefect import Flow, Task

import prefect_ruddr
from prefect_ruddr import sandbox

ROOT = Path(__file__).parents[1]
OURS = ROOT / "prefect_flows"
GENERATED = ROOT / "generated_client"
MOST_LINES = 250
"""A module is a page or three: lines of code, without docstrings, comments and blanks."""


def module_name(path: Path, root: Path) -> str:
    """Return what a file is imported as."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def sources(root: Path) -> dict[str, ast.Module]:
    """Return the modules under a source root, parsed, by name."""
    return {
        module_name(path, root): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(root.rglob("*.py"))
    }


MODULES = sources(OURS)
SANDBOX = {name for name in MODULES if name.startswith(sandbox.__name__)}


def imported(node: ast.AST, *, inside_functions: bool) -> Iterator[str]:
    """Walk over the names that are imported when the module runs, not by type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            base = "." * child.level + (child.module or "")
            yield from (f"{base}.{alias.name}" for alias in child.names)
        yield from imported(child, inside_functions=inside_functions)


def ours_in(names: Iterable[str]) -> set[str]:
    """Return the modules of ours that names of imports stand for."""
    found = set()
    for name in names:
        while name and name not in MODULES:
            name = name.rpartition(".")[0]  # noqa: PLW2901 - a name in a module is of that module
        if name:
            found.add(name)
    return found


@cache
def reached(module: str) -> frozenset[str]:
    """Return all that is imported by a module of ours, and by the modules of ours it imports."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        names = set(imported(MODULES[waiting.pop()], inside_functions=True))
        waiting += ours_in(names) - seen - {"prefect_ruddr"}
        seen |= names | ours_in(names)
    return frozenset(seen)


def uses(module: ast.Module, package: str) -> bool:
    """Tell whether a module imports a package or anything in it."""
    return any(
        name == package or name.startswith(f"{package}.")
        for name in imported(module, inside_functions=True)
    )


def users(package: str) -> set[str]:
    """Return the modules of ours that import a package themselves."""
    return {name for name, module in MODULES.items() if uses(module, package)}


def test_the_generated_client_knows_nothing_of_ours() -> None:
    """It is compiled from the contract, and could be anybody's."""
    for name, module in sources(GENERATED).items():
        assert not uses(module, "prefect_ruddr"), name
        assert not uses(module, "prefect"), name


def test_one_module_calls_the_generated_client() -> None:
    """What it lacks is added in one place."""
    assert users("ruddr_client") == {"prefect_ruddr.api.calls"}


def test_two_modules_name_the_http_library() -> None:
    """The one that sends and the one that says where to: so that another library can follow."""
    assert users("httpx") == {"prefect_ruddr.api.connection", "prefect_ruddr.api.wire"}


def test_every_import_is_written_out() -> None:
    """One form to read, to search for, and for these tests to judge."""
    for name, module in MODULES.items():
        assert not [i for i in imported(module, inside_functions=True) if i[0] == "."], name


def test_nobody_imports_what_prefect_keeps_to_itself() -> None:
    """Its private modules change without notice."""
    private = re.compile(r"prefect\.(.*\.)?_")
    for name, module in MODULES.items():
        assert not [i for i in imported(module, inside_functions=True) if private.match(i)], name


ROOMS = [
    *("__main__", "cli", "command_options", "preview", "flows", "jobs", "runs", "records", "tasks"),
    *("credentials", "clients", "conformance", "api", "pacing", "recalibration", "sources"),
    *("stages", "machine", "prefect_api", "log", "errors", "texts"),
]
"""From what a person calls to what is pure; `CONTRIBUTING.md` walks through them."""


def test_the_tour_walks_through_every_room() -> None:
    """In this order; who adds one writes a line about it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tour = text.split("```text\n")[1].split("```")[0]
    lines = [re.split(r"/|  |$", line)[0] for line in tour.splitlines()]
    named = [name for line in lines for name in line.split(", ")]
    assert named == [*ROOMS[1:], "sandbox"]


def room(module: str) -> str:
    """Return the room, or the module at the top, that a module of ours is in."""
    return module.split(".")[1]


def test_imports_run_one_way() -> None:
    """A module imports from its own room or from a later one."""
    apart = SANDBOX | {"prefect_ruddr"}
    for module in MODULES.keys() - apart:
        needed = ours_in(imported(MODULES[module], inside_functions=True)) - apart
        place = ROOMS.index(room(module))
        assert [name for name in needed if ROOMS.index(room(name)) < place] == [], module


def test_modules_never_import_in_a_circle() -> None:
    """Not even within a room."""
    waiting = {
        name: ours_in(imported(module, inside_functions=False)) - {name, "prefect_ruddr"}
        for name, module in MODULES.items()
        if name != "prefect_ruddr"
    }
    while waiting:
        leaves = {name for name, needed in waiting.items() if not needed & waiting.keys()}
        assert leaves, f"these import each other: {sorted(waiting)}"
        waiting = {name: needed for name, needed in waiting.items() if name not in leaves}


WITHOUT_PREFECT = {"api", "conformance", "recalibration", "sources", "stages", "errors", "texts"}


def test_what_is_not_about_runs_never_reaches_prefect() -> None:
    """Not even by another module."""
    for module in MODULES.keys() - {"prefect_ruddr"}:
        if room(module) in WITHOUT_PREFECT:
            assert "prefect" not in {name.partition(".")[0] for name in reached(module)}, module


def test_the_front_of_a_room_holds_a_docstring_alone() -> None:
    """Nothing runs, and nothing is looked for there; the package and the sandbox name theirs."""
    rooms = {name for name in MODULES if OURS.joinpath(*name.split(".")).is_dir()}
    for name in rooms - {"prefect_ruddr", sandbox.__name__}:
        assert [type(node) for node in MODULES[name].body] == [ast.Expr], name


PURE = [
    name
    for name, module in MODULES.items()
    if re.search(r"\bpure\b", ast.get_docstring(module) or "", re.IGNORECASE)
]


def test_a_module_that_is_called_pure_is() -> None:
    """It reaches neither Prefect nor the network nor a file, not even by another module."""
    impure = {"prefect", "httpx", "ruddr_client", "socket", "asyncio", "threading", "fsspec"}
    assert len(PURE) > 20
    for name in PURE:
        assert not {imported.partition(".")[0] for imported in reached(name)} & impure, name


def test_the_sandbox_and_the_rest_know_nothing_of_each_other() -> None:
    """A mistake in one is not in the other as well, where no test would see it."""
    for name in MODULES.keys() - {"prefect_ruddr.cli", "prefect_ruddr.__main__"}:  # it starts one
        needed = ours_in(imported(MODULES[name], inside_functions=True)) - {"prefect_ruddr"}
        assert not (needed - SANDBOX if name in SANDBOX else needed & SANDBOX), name


ASKING = {"Answer", "RuddrApi"}
"""The public names that mean asking Ruddr for something."""

WHAT_NAMES_LOAD = f"""
import sys
from prefect import flow, task
from prefect.blocks.core import Block
before = set(sys.modules)
from prefect_ruddr import {", ".join(sorted(set(prefect_ruddr.__all__) - ASKING))}
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}})
"""


@pytest.mark.slow
def test_the_names_load_no_library_that_prefect_has_not_loaded() -> None:
    """A flow module starts fast: the client and the retries are loaded when Ruddr is asked."""
    ended = subprocess.run(
        [sys.executable, "-c", WHAT_NAMES_LOAD], capture_output=True, text=True, check=True
    )
    loaded = set(ended.stdout.split()) - sys.stdlib_module_names
    # Prefect loads pydantic's old half for any flow that has a parameter.
    assert loaded - {"pydantic"} == {"lazy_loader", "prefect_ruddr"}


WHAT_APPLYING_LOADS = """
import sys
from prefect_ruddr import apply_stage_updates
assert not [name for name in sys.modules if name.startswith("prefect_ruddr.jobs.")]
from prefect_ruddr.flows import *
print(check_stage_drift.name, export_opportunity_stages_flow.name)
print(recalibrate_stage_probabilities.name)
"""


@pytest.mark.slow
def test_a_job_is_loaded_when_it_is_first_used() -> None:
    """Who applies updates does not wait for the jobs, and finds them beside its flow."""
    ended = subprocess.run(
        [sys.executable, "-c", WHAT_APPLYING_LOADS], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split() == [
        "check-stage-drift",
        "export-opportunity-stages",
        "recalibrate-stage-probabilities",
    ]


def assigned(node: ast.stmt) -> list[str]:
    """Return the names that a statement assigns."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def test_a_constant_has_one_value() -> None:
    """Whoever reads its name need not ask in which module."""
    where: dict[str, list[str]] = {}
    for module, tree in MODULES.items():
        for target in (t for node in tree.body for t in assigned(node)):
            if re.fullmatch(r"[A-Z][A-Z_]+", target):
                where.setdefault(target, []).append(module)
    assert {name: modules for name, modules in where.items() if len(modules) > 1} == {}


@pytest.mark.parametrize(
    "package", [prefect_ruddr, prefect_ruddr.sandbox], ids=["ruddr", "sandbox"]
)
def test_the_public_names_are_sorted_and_there(package: ModuleType) -> None:
    """`from … import *` works, and so does looking a name up in the list."""
    names = list(package.__all__)
    assert names == sorted(set(names))
    assert all(hasattr(package, name) for name in names)
    assert set(names) <= set(dir(package))


def test_type_checkers_see_the_public_names() -> None:
    """What the stub imports is what it lists, and what is there at run time."""
    stub = ast.parse((OURS / "prefect_ruddr" / "__init__.pyi").read_text(encoding="utf-8"))
    names = {name.rpartition(".")[2] for name in imported(stub, inside_functions=False)}
    assert names == set(prefect_ruddr.__all__) - {"__version__"}


def test_the_types_of_every_public_name_are_held() -> None:
    """A change of a signature shows where types are checked: `tests/typing/api.py` uses it."""
    used = ast.parse((ROOT / "tests" / "typing" / "api.py").read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(used) if isinstance(node, ast.Name)}
    assert set(prefect_ruddr.__all__) - names == set()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.name)
def test_an_example_uses_what_is_public_and_nothing_else(path: Path) -> None:
    """Who copies it relies on nothing that may move."""
    names = imported(ast.parse(path.read_text(encoding="utf-8")), inside_functions=True)
    public = {
        f"{package.__name__}.{name}"
        for package in (prefect_ruddr, prefect_ruddr.sandbox)
        for name in package.__all__
    }
    assert {name for name in names if name.startswith("prefect_ruddr")} <= public


PUBLIC = [(name, getattr(prefect_ruddr, name)) for name in prefect_ruddr.__all__]
TASKS_AND_FLOWS = {name: value.fn for name, value in PUBLIC if isinstance(value, Task | Flow)}
CALLS: list[tuple[str, Any]] = [
    *TASKS_AND_FLOWS.items(),
    *((name, value) for name, value in PUBLIC if inspect.isfunction(value)),
]


@pytest.mark.parametrize(("name", "value"), CALLS, ids=[name for name, _ in CALLS])
def test_a_public_call_describes_what_it_takes_and_gives(name: str, value: Any) -> None:
    """Every argument, the result, and what can go wrong; an async version says whose it is."""
    text = inspect.getdoc(value) or ""
    if original := re.fullmatch(r"Async version of `(\w+)`\.", text):
        assert name == f"a{original[1]}"
        assert inspect.signature(value) == inspect.signature(dict(CALLS)[original[1]])
        return
    sections = dict(re.findall(r"^(\w+):\n((?:    .*\n?|\n)+)", text, re.MULTILINE))
    described = re.findall(r"^    (\w+):", sections.get("Args", ""), re.MULTILINE)
    assert described == list(inspect.signature(value).parameters)
    assert "Returns" in sections
    assert "Raises" in sections or name not in TASKS_AND_FLOWS


CLASSES = [(name, value) for name, value in PUBLIC if inspect.isclass(value)]


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=[name for name, _ in CLASSES])
def test_a_public_class_and_its_members_are_described(name: str, kind: type) -> None:
    """By what they are for; a field by its name under Attributes."""
    assert inspect.getdoc(kind)
    for member, value in vars(kind).items():
        if member[0] != "_" and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"
    fields = (
        getattr(kind, "model_fields", {}) if kind.__module__.startswith("prefect_ruddr") else {}
    )
    text = inspect.getdoc(kind) or ""
    assert [field for field in fields if not re.search(rf"^    {field}: ", text, re.M)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_the_examples_of_a_module_run(name: str) -> None:
    """Those with a prompt show what they say; the others are Python, of names that exist."""
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for block in re.findall(r"```python\n(.*?)```", ast.get_docstring(node) or "", re.S):
                parsed = ast.parse(textwrap.dedent(block))
                imports = [n for n in parsed.body if isinstance(n, ast.Import | ast.ImportFrom)]
                for statement in imports:
                    exec(ast.unparse(statement), {})  # noqa: S102 - our own docstrings


def test_there_are_examples_that_run() -> None:
    """An update is shown at work, not only described."""
    finder = doctest.DocTestFinder()
    updates = importlib.import_module("prefect_ruddr.stages.update")
    assert sum(len(found.examples) for found in finder.find(updates)) >= 4


@pytest.mark.parametrize("package", [OURS / "prefect_ruddr", GENERATED / "ruddr_client"])
def test_both_packages_are_typed(package: Path) -> None:
    """Type checkers of users read our annotations."""
    assert (package / "py.typed").is_file()


HAND_WRITTEN = [
    path
    for folder in ("prefect_flows", "tests", "benchmarks", "examples", "scripts", "docs", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and path.suffix in {".py", ".pyi", ".md", ".toml", ".yaml", ""}
] + [path for path in sorted(ROOT.glob("*")) if path.suffix in {".md", ".toml", ".yaml"}]


def test_nothing_is_left_to_do() -> None:
    """What is here is done; what is not here is not announced."""
    marker = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    left = [path for path in HAND_WRITTEN if marker.search(path.read_text(encoding="utf-8"))]
    assert left == []


def lines_of_code(text: str) -> int:
    """Count the lines that hold code; docstrings, comments and blanks are no burden."""
    texts = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in blank and token.string
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - texts)


def test_a_module_is_a_page_or_three() -> None:
    """One that grows longer has two ideas in it."""
    lengths = {path: lines_of_code(path.read_text("utf-8")) for path in OURS.rglob("*.py")}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}
