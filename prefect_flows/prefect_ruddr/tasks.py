"""One Prefect task for each call of the API, and an async version of it."""

import asyncio
import os
from collections.abc import Mapping
from uuid import UUID

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.runtime import task_run

from prefect_ruddr.api.guards import SendOnce
from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.sources.cells import Blank
from prefect_ruddr.sources.export import export_stages, sorted_stages
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.sources.opening import SourceFormat, file_name
from prefect_ruddr.sources.rows import OnInvalid, SourceRow
from prefect_ruddr.stages.kept import require_kept
from prefect_ruddr.stages.pipelines import PipelineIds
from prefect_ruddr.stages.stage import Stage, parse_stage_id
from prefect_ruddr.stages.update import StageUpdate, StageUpdateLike, parse_stage_update
from prefect_ruddr.texts import count


def _named_by_stage() -> str:
    """Name the task run by what it does and the stage it is about."""
    parameters = task_run.parameters
    what = parameters.get("update", parameters.get("stage"))
    if isinstance(what, StageUpdate | Stage):
        what = what.id
    elif isinstance(what, Mapping):
        what = what.get("id")
    verb = "update" if "update" in parameters else "get"
    return f"{verb} stage {str(what)[:36]}"


@task(name="update-opportunity-stage", task_run_name=_named_by_stage, cache_policy=NO_CACHE)
def update_opportunity_stage(ruddr_credentials: RuddrCredentials, update: StageUpdateLike) -> Stage:
    """Change one stage: one PATCH with exactly the fields that the update sets.

    Waits for its turn in the workspace's request budget. After a 429, a 500, 502, 503 or 504,
    and when no whole answer arrives, the same PATCH is sent again, up to five times in all;
    each further attempt is a warning in the run's log. Where an answer is lost, the stage is read
    first, and what has been written is not sent again.

    A Prefect `transaction()` that rolls back does not undo it, as nobody knows what the stage held
    before. `apply_stage_updates` does: call `undo_stage_updates` from an `on_rollback` hook.

    Args:
        ruddr_credentials: The key to the workspace.
        update: The id of the stage and the fields to set, as a `StageUpdate`, an edited
            `Stage`, or a mapping with the names of either. Fields left out keep their value;
            None clears `description`.

    Returns:
        The whole stage after the change, as Ruddr answered it.

    Raises:
        InvalidStageUpdates: When the update breaks a limit; nothing is sent.
        ValueNotKept: When Ruddr confirmed the change but holds another value.
        RuddrRequestError: When Ruddr refuses or does not answer, in the class that says why.

    Examples:
        ```python
        from prefect import flow
        from prefect_ruddr import RuddrCredentials, update_opportunity_stage

        @flow
        def raise_negotiation() -> None:
            update_opportunity_stage(
                RuddrCredentials.load("BLOCK_NAME"),
                {"id": "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19", "probability": 0.8},
            )
        ```
    """
    wanted = parse_stage_update(update)
    stage = ruddr_credentials.get_client().update_stage(wanted, SendOnce(wanted)).value
    require_kept(wanted.fields, stage)
    return stage


@task(name="update-opportunity-stage", task_run_name=_named_by_stage, cache_policy=NO_CACHE)
async def aupdate_opportunity_stage(
    ruddr_credentials: RuddrCredentials, update: StageUpdateLike
) -> Stage:
    """Async version of `update_opportunity_stage`."""
    wanted = parse_stage_update(update)
    stage = (await ruddr_credentials.get_client().aupdate_stage(wanted, SendOnce(wanted))).value
    require_kept(wanted.fields, stage)
    return stage


@task(name="get-opportunity-stage", task_run_name=_named_by_stage, cache_policy=NO_CACHE)
def get_opportunity_stage(ruddr_credentials: RuddrCredentials, stage: UUID | str) -> Stage:
    """Read one stage: one GET.

    Args:
        ruddr_credentials: The key to the workspace.
        stage: The id of the stage.

    Returns:
        The stage as Ruddr holds it now.

    Raises:
        InvalidStageUpdates: When the id is no UUID; nothing is sent.
        StageNotFound: When the workspace has no such stage.
        RuddrRequestError: When the request fails in any other way.
    """
    return ruddr_credentials.get_client().get_stage(parse_stage_id(stage))


@task(name="get-opportunity-stage", task_run_name=_named_by_stage, cache_policy=NO_CACHE)
async def aget_opportunity_stage(ruddr_credentials: RuddrCredentials, stage: UUID | str) -> Stage:
    """Async version of `get_opportunity_stage`."""
    return await ruddr_credentials.get_client().aget_stage(parse_stage_id(stage))


@task(name="list-opportunity-stages", cache_policy=NO_CACHE)
def list_opportunity_stages(
    ruddr_credentials: RuddrCredentials, name: str | None = None
) -> list[Stage]:
    """Read all stages of the workspace, newest first: one GET for every 100 of them.

    Args:
        ruddr_credentials: The key to the workspace.
        name: Only stages whose name is exactly this.

    Returns:
        The stages, by creation time, the newest first.

    Raises:
        RuddrRequestError: When a request fails, in the class that says why.
    """
    return ruddr_credentials.get_client().list_stages(name)


@task(name="list-opportunity-stages", cache_policy=NO_CACHE)
async def alist_opportunity_stages(
    ruddr_credentials: RuddrCredentials, name: str | None = None
) -> list[Stage]:
    """Async version of `list_opportunity_stages`."""
    return await ruddr_credentials.get_client().alist_stages(name)


@task(name="export-opportunity-stages", cache_policy=NO_CACHE)
def export_opportunity_stages(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str | os.PathLike[str] | None = None,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
) -> list[Stage]:
    """Read all stages of the workspace, and write them to a file that can be edited and applied.

    Given back unchanged, to `apply_stage_file` or `read_stage_updates`, the file changes nothing.
    Two exports differ only where the stages do.

    Args:
        ruddr_credentials: The key to the workspace. What it calls the pipelines stands in YAML.
        path_or_url: A path, or any URL that fsspec can write to; packed where the name ends in
            `.gz`, `.bz2`, `.xz` or `.zip`. None for no file.
        format: "csv", "jsonl", "parquet" or "yaml"; None for what the file's name says.

    Returns:
        The stages in the order of the file: by pipeline, then open, won, lost, then by name.

    Raises:
        InvalidStageUpdates: When the file's name says no format.
        ExportFailed: When the file cannot be written; one that was there is as it was.
        RuddrRequestError: When a request fails, in the class that says why.

    Examples:
        ```python
        from prefect import flow
        from prefect_ruddr import RuddrCredentials, export_opportunity_stages

        @flow
        def backup() -> None:
            export_opportunity_stages(RuddrCredentials.load("BLOCK_NAME"), "stages.yaml")
        ```
    """
    stages = ruddr_credentials.get_client().list_stages()
    return _exported(ruddr_credentials, stages, path_or_url, format)


@task(name="export-opportunity-stages", cache_policy=NO_CACHE)
async def aexport_opportunity_stages(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str | os.PathLike[str] | None = None,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
) -> list[Stage]:
    """Async version of `export_opportunity_stages`."""
    stages = await ruddr_credentials.get_client().alist_stages()
    return await asyncio.to_thread(_exported, ruddr_credentials, stages, path_or_url, format)


def _exported(
    ruddr_credentials: RuddrCredentials,
    stages: list[Stage],
    path_or_url: str | os.PathLike[str] | None,
    format: SourceFormat | None,  # noqa: A002 - what everybody calls it
) -> list[Stage]:
    names = ruddr_credentials.pipeline_names
    if path_or_url is not None:
        export_stages(stages, path_or_url, format=format, pipelines=names.ids)
        where = file_name(os.fspath(path_or_url))
        get_run_logger().info("Wrote %s to %s", count(len(stages), "stage"), where)
    return sorted_stages(stages, names)


@task(name="read-stage-updates", cache_policy=NO_CACHE)
def read_stage_updates(
    path_or_url: str | os.PathLike[str],
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    blank: Blank = "leave",
    null_marker: str | None = None,
    encoding: str = "utf-8",
    delimiter: str = ",",
    pipelines: PipelineIds | None = None,
    on_invalid: OnInvalid = "stop",
) -> list[SourceRow]:
    """Read a file of updates, for `apply_stage_updates` to carry out.

    The columns, or the names in a JSON object, are those of a `StageUpdate`, in our spelling
    or Ruddr's; instead of `id` there may be `stage`, what the stage is called now, and
    `pipeline`, the pipeline it is in. The file is read a line or a batch at a time.

    Args:
        path_or_url: A path, or any URL that fsspec can open: `s3://…`, `https://…`.
        format: "csv", "jsonl", "parquet" or "yaml"; None for what the file's name says. A `.gz`,
            `.bz2`, `.xz` or `.zip` behind it is unpacked.
        blank: What a blank description of a CSV or Parquet file means: "leave" it alone or
            "clear" it. Anything else that is blank is left alone.
        null_marker: A text that means null, such as `NULL`.
        encoding: How a CSV, JSON Lines or YAML file is encoded.
        delimiter: The character between two cells of a CSV file.
        pipelines: The ids of pipelines by what you call them, where rows give these names.
        on_invalid: "stop" raises when any row is wrong; "skip" hands wrong rows on marked, for
            `apply_stage_updates(on_invalid="skip")` to report as rejected.

    Returns:
        One row for each row of the file, in its order, without those that are blank.

    Raises:
        InvalidStageUpdates: With every error, each naming the file and the line. Also with
            "skip" when the file is wrong as a whole, such as by its header.
        SourceUnreadable: When the file cannot be opened, or not be read to its end.

    Examples:
        ```python
        from prefect import flow
        from prefect_ruddr import RuddrCredentials, apply_stage_updates, read_stage_updates

        @flow
        def nightly() -> None:
            rows = read_stage_updates("s3://sales/stages.csv")
            apply_stage_updates(RuddrCredentials.load("BLOCK_NAME"), rows)
        ```
    """
    rows = read_source(
        path_or_url,
        format=format,
        blank=blank,
        null_marker=null_marker,
        encoding=encoding,
        delimiter=delimiter,
        pipelines=pipelines,
        on_invalid=on_invalid,
    )
    wrong = sum(bool(row.errors) for row in rows)
    get_run_logger().info("Read %d rows%s", len(rows), f", {wrong} of them wrong" if wrong else "")
    return rows
