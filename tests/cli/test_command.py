"""The command: its exit codes, what it prints and where."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.sandbox import EXAMPLE_PIPELINE_ID, EXAMPLE_STAGE_ID, Sandbox
from runs.records import eventually, logs

from .conftest import Command

MISSING = "00000000-0000-4000-8000-000000000000"


def write(folder: Path, text: str) -> str:
    """Write a file of updates, and return its name."""
    (folder / "stages.csv").write_text(text, encoding="utf-8")
    return "stages.csv"


@pytest.fixture
def edited(tmp_path: Path) -> str:
    """A file that wants another probability of one stage."""
    return write(tmp_path, f"id,probability\n{EXAMPLE_STAGE_ID},0.8\n")


@pytest.mark.parametrize("name", ["s.csv", "s.jsonl", "s.yaml", "s.parquet"])
def test_what_was_exported_plans_nothing_and_is_no_drift(command: Command, name: str) -> None:
    """In each format: both exit codes are 0."""
    exported = command("export", name)
    assert (exported.returncode, exported.stdout) == (0, "")
    assert exported.stderr == f"prefect-ruddr: 18 stages written to {name}\n"
    planned = command("plan", name)
    assert planned.returncode == 0
    assert "0 would change, 18 unchanged" in planned.stdout
    drifted = command("drift", name)
    assert (drifted.returncode, drifted.stderr) == (0, "")
    assert drifted.stdout == f"No drift from {name}: 18 stages compared\n"


def test_an_export_goes_to_standard_output(process: Command) -> None:
    """The stages and nothing else, in the format asked for."""
    ended = process("export", "--format", "jsonl")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len([json.loads(line) for line in ended.stdout.splitlines()]) == 18


def test_a_plan_with_changes_ends_with_2(process: Command, edited: str, sandbox: Sandbox) -> None:
    """It shows them, and nothing is written."""
    ended = process("plan", edited)
    assert (ended.returncode, ended.stderr) == (2, "")
    assert re.search(r"1 would change, 0 unchanged", ended.stdout)
    assert "Negotiation (pipeline b9c85ac3)  would change" in ended.stdout  # there is another one
    assert "probability  0.75 → 0.8" in ended.stdout
    assert {request.method for request in sandbox.requests} == {"GET"}


def test_a_plan_as_json_says_the_same(command: Command, edited: str) -> None:
    """One object, as the page on the command describes it."""
    ended = command("plan", edited, "--output", "json")
    assert (ended.returncode, ended.stderr) == (2, "")
    assert json.loads(ended.stdout) == {
        "changes": [
            {
                "stage_id": EXAMPLE_STAGE_ID,
                "stage": "Negotiation",
                "pipeline": "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2",
                "fields": [{"field": "probability", "before": 0.75, "after": 0.8}],
            }
        ],
        "missing": [],
        "unchanged": 0,
        "errors": [],
    }


def test_pipelines_may_have_names(command: Command, tmp_path: Path) -> None:
    """A row may use the name that the command gives, and the plan shows it."""
    file = write(tmp_path, "stage,pipeline,probability\nNegotiation,New Business,0.8\n")
    named = "New Business=b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2"
    ended = command("plan", file, "--output", "json", "--pipeline", named)
    assert (ended.returncode, ended.stderr) == (2, "")
    assert json.loads(ended.stdout)["changes"][0]["pipeline"] == "New Business"


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_yaml_file_names_pipelines_too(command: Command, tmp_path: Path, output: str) -> None:
    """As it is in git: no option repeats the names, and the plan shows them."""
    named = ["--pipeline", f"Big Deals={EXAMPLE_PIPELINE_ID}"]
    assert command("export", "stages.yaml", *named).returncode == 0
    file = tmp_path / "stages.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("probability: 0.75", "probability: 0.8"), encoding="utf-8")
    ended = command("plan", "stages.yaml", "--output", output)
    assert (ended.returncode, ended.stderr) == (2, "")
    if output == "text":
        assert "Negotiation (Big Deals)  would change" in ended.stdout
    else:
        assert json.loads(ended.stdout)["changes"][0]["pipeline"] == "Big Deals"
    drifted = command("drift", "stages.yaml", "--output", output)
    assert "Big Deals" in drifted.stdout


def test_a_plan_may_set_only_the_fields_that_it_may(command: Command, edited: str) -> None:
    """The same words as a run's, and the same error."""
    assert command("plan", edited, "--only-fields", "probability").returncode == 2
    ended = command("plan", edited, "--only-fields", "name", "--only-fields", "description")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "prefect-ruddr: stages.csv line 2: probability: this run may set only name, description"
        " (only_fields)\n"
    )


def test_a_plan_of_too_many_changes_is_shown_and_ends_with_1(command: Command, edited: str) -> None:
    """As a run that nobody is asked about would stop."""
    assert command("plan", edited, "--most-changes", "1").returncode == 2
    ended = command("plan", edited, "--most-changes", "0")
    assert ended.returncode == 1
    assert "1 would change" in ended.stdout
    why = "1 stages would change, and most_changes is 0"
    assert ended.stderr == f"prefect-ruddr: {why}\n"
    as_json = command("plan", edited, "--most-changes", "0", "--output", "json")
    assert json.loads(as_json.stdout)["errors"] == [why]


def test_a_stage_that_was_deleted_is_drift_and_an_error_of_a_plan(
    command: Command, tmp_path: Path, sandbox: Sandbox
) -> None:
    """Told as text and as JSON; a plan cannot bring it back."""
    command("export", "stages.yaml")
    sandbox.delete(EXAMPLE_STAGE_ID)
    drifted = command("drift", "stages.yaml")
    assert (drifted.returncode, drifted.stderr) == (2, "")
    why = f"id = {EXAMPLE_STAGE_ID}: the workspace has no such stage"
    assert drifted.stdout == (
        f"Drift from stages.yaml: 1 differ, 17 do not\n  Negotiation  deleted\n    {why}\n"
    )
    as_json = command("drift", "stages.yaml", "--output", "json")
    assert as_json.returncode == 2
    [missing] = json.loads(as_json.stdout)["missing"]
    assert re.fullmatch(r"stages\.yaml line \d+", missing.pop("place"))
    assert missing == {"stage_id": EXAMPLE_STAGE_ID, "stage": "Negotiation", "why": why}
    planned = command("plan", "stages.yaml")
    assert planned.returncode == 1
    assert planned.stderr.endswith(f": {why}\n")
    (tmp_path / "named.csv").write_text("stage,probability\nNowhere,0.5\n", encoding="utf-8")
    by_name = command("drift", "named.csv")
    assert by_name.returncode == 2
    assert "Nowhere  deleted or renamed" in by_name.stdout


def test_drift_is_what_is_live_in_place_of_the_file(command: Command, edited: str) -> None:
    """It ends with 2, and shows the value of the file before the live one."""
    ended = command("drift", edited)
    assert (ended.returncode, ended.stderr) == (2, "")
    assert ended.stdout.startswith("Drift from stages.csv in ")
    assert "probability  0.8 → 0.75" in ended.stdout


def test_every_error_of_every_row_is_a_line(command: Command, tmp_path: Path) -> None:
    """Wrong values, stages that are not there and names at once; the exit code is 1."""
    lines = [
        {"stage": "Nowhere", "probability": 0.3},
        {"id": EXAMPLE_STAGE_ID, "probability": 2},
        {"id": MISSING, "probability": 0.5},
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    ended = command("plan", "s.jsonl")
    assert (ended.returncode, ended.stdout) == (1, "")
    found = ended.stderr.splitlines()
    assert [line.split(": ")[1] for line in found] == [
        "s.jsonl line 1",
        "s.jsonl line 2",
        "s.jsonl line 3",
    ]
    as_json = command("plan", "s.jsonl", "--output", "json")
    assert as_json.returncode == 1
    assert len(json.loads(as_json.stdout)["errors"]) == 3


def test_a_swap_of_names_is_an_error_as_in_a_run(command: Command, tmp_path: Path) -> None:
    """Unless it is asked for."""
    exported = command("export", "--format", "jsonl").stdout.splitlines()
    one, other = map(json.loads, exported[:2])  # sorted by pipeline
    rows = [{"id": one["id"], "name": other["name"]}, {"id": other["id"], "name": one["name"]}]
    (tmp_path / "swap.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    refused = command("plan", "swap.jsonl")
    assert refused.returncode == 1
    assert refused.stderr.count("swap their names") == 2
    assert command("plan", "swap.jsonl", "--swap-names").returncode == 2


def test_the_sandbox_passes_the_check(command: Command, sandbox: Sandbox) -> None:
    """A line for each call, and 0; with --write one PATCH."""
    ended = command("check")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("agrees") == len(ended.stdout.splitlines()) == 4
    assert command("check", "--write", EXAMPLE_STAGE_ID).returncode == 0
    assert [request.method for request in sandbox.requests].count("PATCH") == 1


@pytest.mark.parametrize(
    ("arguments", "environment_", "line"),
    [
        pytest.param(["plan", "no.csv"], {}, "no.csv: no such file", id="no file"),
        pytest.param(["export"], {}, "export: give a PATH, or --format", id="no format"),
        pytest.param(["export", "s.txt"], {}, "s.txt: its name does not say", id="no suffix"),
        pytest.param(["plan"], {}, 'Command "plan" parameter FILE requires', id="no FILE"),
        pytest.param(["plans"], {}, 'Unknown command "plans"', id="no such command"),
        pytest.param(
            ["apply", "s.csv", "--risky-probability-change", "2"],
            {},
            'Invalid value "2.0" for --risky-probability-change',
            id="no probability",
        ),
        pytest.param(
            ["undo", MISSING, "--approval-timeout-seconds", "0"],
            {},
            'Invalid value "0" for --approval-timeout-seconds',
            id="no time",
        ),
        pytest.param(
            ["plan", "s.csv", "--most-changes", "-1"],
            {},
            'Invalid value "-1" for --most-changes',
            id="less than none",
        ),
        pytest.param(["check", "--write", "7"], {}, "stage id = '7': not a UUID", id="no UUID"),
        pytest.param(["export", "s.csv", "--pipeline", "x"], {}, "write NAME=ID", id="no name"),
        pytest.param(["check"], {"RUDDR_API_KEY": "rk_wrong_1"}, "HTTP 401", id="wrong key"),
        pytest.param(["check"], {"RUDDR_API_KEY": "a b"}, "RUDDR_API_KEY has white", id="no key"),
        pytest.param(
            ["check"],
            {"RUDDR_BASE_URL": "http://example.org/api/workspace"},
            "RUDDR_BASE_URL would send the key unencrypted",
            id="unsafe address",
        ),
    ],
)
def test_an_error_is_one_line_and_1(
    command: Command, arguments: list[str], environment_: dict[str, str], line: str
) -> None:
    """On standard error, without a traceback."""
    ended = command(*arguments, **environment_)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("prefect-ruddr: ")
    assert line in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_no_option_takes_a_key_and_none_is_shown(command: Command, sandbox: Sandbox) -> None:
    """A key that was typed where it does not belong is not printed."""
    for arguments in (["check", "--api-key", sandbox.api_key], ["undo", sandbox.api_key]):
        ended = command(*arguments)
        assert ended.returncode == 1
        assert sandbox.api_key not in ended.stdout + ended.stderr


def test_the_module_is_the_command(environment: dict[str, str]) -> None:
    """`python -m prefect_ruddr` does the same."""
    ended = subprocess.run(
        [sys.executable, "-m", "prefect_ruddr", "--version"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", ended.stdout)


def test_the_sandbox_takes_its_own_options(command: Command) -> None:
    """Its help, and its errors."""
    assert "--omit-pipeline" in command("sandbox", "--help").stdout
    wrong = command("sandbox", "--rate", "fast")
    assert wrong.returncode == 2
    assert "'fast' is neither a number nor 'none'" in wrong.stderr


WHAT_IS_LOADED = """
import sys
from prefect_ruddr.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    loaded = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
    print(ended.code, *loaded, *{"rich.markdown"} & sys.modules.keys(), file=sys.stderr)
"""

LIGHT = {
    *("annotated_types", "attr", "attrs", "cyclopts", "fsspec", "lazy_loader", "prefect_ruddr"),
    *("pydantic", "pydantic_core", "pygments", "rich", "typing_extensions", "typing_inspection"),
    *("anyio", "certifi", "click", "colorama", "h11", "h2", "hpack", "httpcore", "httpx"),
    *("hyperframe", "idna", "ruddr_client", "sniffio", "stamina", "tenacity", "tornado", "yaml"),
}
"""What the command, its options and one request load: half of a second, all told. The last two
lines are the HTTP library, the waiting between attempts, and what they look for by themselves."""

VALIDATOR = {
    *("jsonpointer", "jsonschema", "jsonschema_specifications", "referencing", "rpds"),
    *("rfc3339_validator", "six"),
}


@pytest.mark.parametrize(
    ("arguments", "code", "more"),
    [
        pytest.param(["--version"], 0, set(), id="version", marks=pytest.mark.long),
        pytest.param(["--help"], 0, {"docstring_parser"}, id="help"),
        pytest.param(["export", "out.csv"], 0, set(), id="export CSV", marks=pytest.mark.long),
        pytest.param(["export", "out.yaml"], 0, set(), id="export YAML"),
        pytest.param(["plan", "stages.csv"], 2, set(), id="plan"),
        pytest.param(["drift", "stages.csv"], 2, set(), id="drift", marks=pytest.mark.long),
        pytest.param(["check"], 0, VALIDATOR, id="check"),
        pytest.param(["sandbox", "--help"], 0, VALIDATOR | {"starlette", "uvicorn"}, id="sandbox"),
    ],
)
@pytest.mark.usefixtures("edited")
def test_nothing_heavy_is_loaded(
    environment: dict[str, str], tmp_path: Path, arguments: list[str], code: int, more: set[str]
) -> None:
    """Not Prefect, whose import alone takes longer than the command should, and no other."""
    ended = subprocess.run(
        [sys.executable, "-c", WHAT_IS_LOADED, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    ended_with, *loaded = ended.stderr.splitlines()[-1].split()
    assert ended_with == str(code)
    # What is compiled or of the environment is no package.
    packages = {name for name in loaded if name[0] != "_"} - {"cython_runtime"}
    assert packages - LIGHT - more == set()


def seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """Return the processor time that a process takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(arguments, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.long
def test_the_command_starts_sooner_than_a_flow(environment: dict[str, str]) -> None:
    """In processor time, as a busy machine slows both."""
    flow = seconds([sys.executable, "-c", "import prefect_ruddr.flows"], environment)
    assert seconds(["prefect-ruddr", "export", "--format", "csv"], environment) < 0.7 * flow


def test_a_run_is_applied_and_undone(
    with_prefect: dict[str, str], process: Command, edited: str, sandbox: Sandbox
) -> None:
    """Both are flow runs that Prefect records; the report and the run's id are printed."""
    applied = process("apply", edited, PREFECT_API_URL=with_prefect["PREFECT_API_URL"])
    assert (applied.returncode, applied.stderr) == (0, "")
    assert applied.stdout.startswith("1 updated")
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.8
    [run] = re.findall(r"^Flow run (\S+)$", applied.stdout, re.MULTILINE)
    # Quiet here, and whole in Prefect.
    recorded = eventually(lambda: [line["message"] for line in logs(UUID(run))], bool)
    assert "1 updated" in recorded
    undone = process("undo", run)
    assert (undone.returncode, undone.stderr) == (0, "")
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.75


@pytest.mark.long
@pytest.mark.usefixtures("with_prefect")
def test_a_run_asks_where_its_plan_is_risky_and_not_for_longer_than_told(
    command: Command, edited: str, sandbox: Sandbox
) -> None:
    """What is risky is told by the step; nobody answers, so nothing is written."""
    asking = ["apply", edited, "--approval", "risky", "--approval-timeout-seconds", "1"]
    refused = command(*asking, "--risky-probability-change", "0.01")
    assert refused.returncode == 1
    assert refused.stderr.endswith("within 1 s\n")
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.75
    applied = command(*asking, "--risky-probability-change", "0.1")
    assert applied.returncode == 0
    [run] = re.findall(r"^Flow run (\S+)$", applied.stdout, re.MULTILINE)
    asking = ["undo", run, "--approval", "risky", "--approval-timeout-seconds", "1"]
    refused = command(*asking, "--risky-probability-change", "0.01")
    assert refused.returncode == 1
    assert refused.stderr.endswith("within 1 s\n")
    assert sandbox.stage(EXAMPLE_STAGE_ID)["probability"] == 0.8


@pytest.mark.usefixtures("with_prefect")
def test_a_run_that_fails_is_one_line_without_a_traceback(process: Command, tmp_path: Path) -> None:
    """The report is printed, and the reason is last."""
    ended = process("apply", write(tmp_path, f"id,probability\n{MISSING},0.5\n"))
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.startswith("prefect-ruddr: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.usefixtures("with_prefect")
def test_a_block_holds_the_key(
    command: Command, ruddr_credentials: RuddrCredentials, edited: str
) -> None:
    """Instead of the environment; a block that is not there is one line."""
    ruddr_credentials.save("command", overwrite=True)
    try:
        ended = command("plan", edited, "--block", "command", RUDDR_API_KEY="")
    finally:
        RuddrCredentials.delete("command")
    assert (ended.returncode, ended.stderr) == (2, "")
    missing = command("plan", edited, "--block", "nowhere")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "block nowhere" in missing.stderr
