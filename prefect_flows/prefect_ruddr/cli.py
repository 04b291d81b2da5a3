"""The command `prefect-ruddr`: thin, over the functions that Python has.

Prefect is loaded for what is a run, and for a block; everything else starts without it. On the
machine of `docs/performance.md` it takes 1.4 s to load, and all the rest 0.7 s.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn
from uuid import UUID

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console
from rich.text import Text

from prefect_ruddr import __version__
from prefect_ruddr.api.address import API_KEY_VARIABLE
from prefect_ruddr.api.connection import SHORTEST_SECRET
from prefect_ruddr.command_options import (
    AS_NAMED,
    ENVIRONMENT,
    WITHOUT_ASKING,
    File,
    InvalidInput,
    MostChanges,
    OnlyFields,
    Output,
    Reading,
    SwapNames,
    Where,
    Writing,
)
from prefect_ruddr.errors import InvalidStageUpdates, RuddrError
from prefect_ruddr.preview import Preview, preview, preview_json
from prefect_ruddr.sources.export import export_stages, exported_stages
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.sources.opening import SourceFormat, file_name
from prefect_ruddr.sources.rows import OnInvalid
from prefect_ruddr.stages.drift import StageDrift
from prefect_ruddr.stages.outcome import StageReport, StageUpdatesFailed
from prefect_ruddr.stages.stage import parse_stage_id
from prefect_ruddr.texts import count, one_line

AGREES, WRONG, DIFFERS = 0, 1, 2
"""The exit codes, as those of `terraform plan -detailed-exitcode`."""


app = App(
    name="prefect-ruddr",
    help="Ruddr's opportunity stages as code: export, plan, apply, undo, drift.",
    version=__version__,
    help_format="plaintext",
    help_epilogue=(
        "The key to the workspace comes from RUDDR_API_KEY, its address from RUDDR_BASE_URL;"
        " or both from a block with --block. Exit codes: 0 nothing differs, 2 something differs,"
        " 1 an error."
    ),
    result_action="return_value",
)


@app.command
def export(
    path: Annotated[
        str | None, Parameter(help="The file, or a URL; standard output without one.")
    ] = None,
    /,
    *,
    format: Annotated[  # noqa: A002 - what everybody calls it
        SourceFormat | None, Parameter(help="The format; needed where there is no PATH.")
    ] = None,
    where: Where = ENVIRONMENT,
) -> int:
    """Write every stage to a file that can be edited and applied."""
    if path is None and format is None:
        raise InvalidInput("export: give a PATH, or --format for standard output")
    api, pipelines = where.opened()
    stages = api.list_stages()
    if path is not None:
        export_stages(stages, path, format=format, pipelines=pipelines.ids)
        _say(f"{count(len(stages), 'stage')} written to {file_name(path)}")
    elif format is not None:
        sys.stdout.buffer.write(exported_stages(stages, format, pipelines=pipelines.ids))
        sys.stdout.buffer.flush()
    return AGREES


@app.command
def plan(
    file: File,
    /,
    *,
    output: Annotated[Output, Parameter(help="What is printed.")] = "text",
    swap_names: SwapNames = False,
    most_changes: MostChanges = None,
    only_fields: OnlyFields = (),
    where: Where = ENVIRONMENT,
    reading: Reading = AS_NAMED,
) -> int:
    """Show what applying a file would change; write nothing.

    Exit codes: 0 nothing to change, 2 changes, 1 an error.
    """
    found = _compared(
        file,
        where,
        reading,
        swap_names=swap_names,
        most_changes=most_changes,
        only_fields=only_fields or None,
    )
    return _shown(found, found.plan.diff(), output)


@app.command
def drift(
    file: File,
    /,
    *,
    output: Annotated[Output, Parameter(help="What is printed.")] = "text",
    where: Where = ENVIRONMENT,
    reading: Reading = AS_NAMED,
) -> int:
    """Show in what the live stages differ from a file; write nothing.

    Exit codes: 0 no drift, 2 drift, 1 an error.
    """
    found = _compared(file, where, reading, swap_names=True, may_be_missing=True)
    differing = StageDrift(source=file_name(file), plan=found.plan, missing=found.missing)
    return _shown(found, differing.diff(), output)


@app.command
def apply(
    file: File,
    /,
    *,
    on_invalid: Annotated[OnInvalid, Parameter(help="What to do when a row is wrong.")] = "stop",
    most_changes: MostChanges = None,
    only_fields: OnlyFields = (),
    writing: Writing = WITHOUT_ASKING,
    where: Where = ENVIRONMENT,
    reading: Reading = AS_NAMED,
) -> int:
    """Apply a file: a run of the flow apply-stage-file, recorded by Prefect."""
    _quiet_prefect(writing)
    from prefect_ruddr.flows import apply_stage_file  # noqa: PLC0415

    return _run(
        lambda: apply_stage_file(
            where.credentials(),
            file,
            on_invalid=on_invalid,
            most_changes=most_changes,
            only_fields=only_fields or None,
            **vars(writing),
            **vars(reading),
        )
    )


@app.command
def undo(
    flow_run_id: Annotated[UUID, Parameter(help="The id of the flow run to undo.")],
    /,
    *,
    writing: Writing = WITHOUT_ASKING,
    where: Where = ENVIRONMENT,
) -> int:
    """Undo a run: a run of the flow undo-stage-updates, recorded by Prefect."""
    _quiet_prefect(writing)
    from prefect_ruddr.flows import undo_stage_updates  # noqa: PLC0415

    return _run(lambda: undo_stage_updates(where.credentials(), flow_run_id, **vars(writing)))


@app.command
def check(
    *,
    write: Annotated[
        str | None,
        Parameter(help="Send one PATCH too: it sets the probability of this stage to what it is."),
    ] = None,
    where: Where = ENVIRONMENT,
) -> int:
    """Find out whether your Ruddr is what this package was written for; write nothing.

    Exit codes: 0 it is, 2 something differs, 1 an error.
    """
    # The contract and its validator, which nothing else here needs: 80 ms.
    from prefect_ruddr.conformance.checking import check_contract  # noqa: PLC0415

    stage_id = None if write is None else parse_stage_id(write)
    api, _ = where.opened()
    found = check_contract(api, stage_id)
    _print(found.table())
    for line in found.lines():
        _print(Text(line))
    return AGREES if found.agrees else DIFFERS


@app.command(help_flags=(), version_flags=())
def sandbox(
    *options: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True, help="The options of `python -m prefect_ruddr.sandbox`."
        ),
    ],
) -> int:
    """Run a local Ruddr to try everything on; `prefect-ruddr sandbox --help` lists its options."""
    # A server, which nothing else here needs: 130 ms.
    from prefect_ruddr.sandbox.__main__ import main as run_sandbox  # noqa: PLC0415

    run_sandbox(list(options))
    return AGREES


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command.

    Args:
        arguments: The command line without the program; None for the one of this process.

    Raises:
        SystemExit: Always, with the exit code.
    """
    _log_to_stderr()
    tokens = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(tokens, print_error=False, exit_on_error=False)
    except CycloptsError as error:
        code = _fail(str(error))
    except InvalidStageUpdates as error:
        code = _fail(*error.errors)
    except RuddrError as error:
        code = _fail(str(error))
    except BrokenPipeError:
        # Whoever reads has had enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = WRONG
    except KeyboardInterrupt:
        code = 130
    sys.exit(code or 0)


def _compared(file: str, where: Where, reading: Reading, **rules: Any) -> Preview:
    api, pipelines = where.opened()
    rows = read_source(file, pipelines=pipelines.ids, on_invalid="skip", **vars(reading))
    return preview(rows, api, pipelines, **rules)


def _shown(found: Preview, text: Text, output: Output) -> int:
    if output == "json":
        print(json.dumps(preview_json(found), ensure_ascii=False, indent=2))
    elif not found.errors:
        _print(text)
    if found.errors or found.refusal:
        return _fail(*found.errors, *filter(None, [found.refusal]))
    return DIFFERS if found.plan.changes or found.missing else AGREES


def _run(flow: Callable[[], StageReport]) -> int:
    try:
        report, failed = flow(), None
    except StageUpdatesFailed as error:
        report, failed = error.report, str(error)
    _print(report.diff())
    _print(Text(f"Flow run {report.flow_run_id}"))
    return _fail(failed) if failed else AGREES


def _quiet_prefect(writing: Writing) -> None:
    """Keep Prefect's lines about its own work out of the terminal; its API has them all."""
    if writing.approval != "never":
        _say("where the plan needs a yes, the run waits for it in Prefect's UI")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")


def _print(text: Text) -> None:
    Console(highlight=False).print(text, soft_wrap=True)


def _say(line: str) -> None:
    key = os.environ.get(API_KEY_VARIABLE, "")
    if len(key) >= SHORTEST_SECRET:
        line = line.replace(key, "[API key]")  # somebody may have typed it where it does not belong
    print(f"prefect-ruddr: {one_line(line)}", file=sys.stderr)


def _fail(*lines: str) -> int:
    for line in lines:
        _say(line)
    return WRONG


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("prefect-ruddr: %(message)s"))
    logger = logging.getLogger("prefect_ruddr")
    logger.addHandler(handler)
    logger.propagate = False
    # The library that waits between attempts logs each of them once more.
    logging.getLogger("stamina").setLevel(logging.ERROR)
