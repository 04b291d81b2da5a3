"""Writes stages and updates to files that can be read back as they were."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.sources.cells import checked_marker, is_blank
from prefect_ruddr.sources.opening import SourceFormat, file_name, format_of, write_file
from prefect_ruddr.sources.parquet_rows import stages_parquet
from prefect_ruddr.sources.rows import SourceRow
from prefect_ruddr.sources.tables import COLUMNS
from prefect_ruddr.sources.yaml_text import rows_yaml, stages_yaml
from prefect_ruddr.stages.pipelines import PipelineIds, PipelineNames
from prefect_ruddr.stages.stage import FIELD_NAMES, READ_ONLY_NAMES, SNAKE_CASE, Stage
from prefect_ruddr.stages.update import StageUpdate, StageUpdateLike
from prefect_ruddr.texts import shown

EXPORTED = ("id", *FIELD_NAMES, *READ_ONLY_NAMES)
"""The columns of exported stages."""

_SURROGATE = re.compile("[\ud800-\udfff]")

STATUS_ORDER = ("open", "won", "lost")
"""In which order the stages of a pipeline are exported."""


def export_stages(
    stages: Iterable[Stage],
    path_or_url: str | os.PathLike[str],
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    pipelines: PipelineIds | None = None,
) -> int:
    """Write stages to a file that can be edited and applied.

    A file on this machine is replaced in one step: nobody sees half of it.

    Args:
        stages: The stages, in any order.
        path_or_url: A path, or any URL that fsspec can write to; packed where the name ends in
            `.gz`, `.bz2`, `.xz` or `.zip`.
        format: The format; None for what the name says.
        pipelines: The ids of pipelines by what you call them; YAML shows these names.

    Returns:
        How many stages were written.

    Raises:
        InvalidStageUpdates: When the name says no format, or a name of a pipeline is wrong.
        ExportFailed: When the file cannot be written.
        SourceUnreadable: When Parquet is asked for and pyarrow is not installed.
    """
    url = os.fspath(path_or_url)
    kind = format or format_of(file_name(url))
    listed = list(stages)
    write_file(url, exported_stages(listed, kind, pipelines=pipelines))
    return len(listed)


def exported_stages(
    stages: Iterable[Stage],
    format: SourceFormat,  # noqa: A002 - what everybody calls it
    *,
    pipelines: PipelineIds | None = None,
) -> bytes:
    """Return stages as the content of a file; texts are UTF-8.

    Two exports differ only where the stages do.

    Args:
        stages: The stages, in any order.
        format: The format.
        pipelines: The ids of pipelines by what you call them; YAML shows these names.
    """
    names = PipelineNames(pipelines)
    ordered = sorted_stages(stages, names)
    if format == "yaml":
        return stages_yaml(ordered, names).encode()
    rows = [_stage_values(stage) for stage in ordered]
    if format == "parquet":
        return stages_parquet(rows, EXPORTED)
    if format == "jsonl":
        return _json_lines(rows).encode()
    cells = [{name: _text(value) for name, value in row.items()} for row in rows]
    return _csv(cells, EXPORTED).encode()


def sorted_stages(stages: Iterable[Stage], pipelines: PipelineNames) -> list[Stage]:
    """Return stages in the order in which they are exported.

    By pipeline, those whose pipeline Ruddr did not say last; then open, won, lost; then by
    name, in whichever case; then by id.

    Args:
        stages: The stages.
        pipelines: What pipelines are called.
    """
    return sorted(
        stages,
        key=lambda stage: (
            stage.opportunity_pipeline_id is None,
            pipelines.name_of(stage.opportunity_pipeline_id).casefold(),
            str(stage.opportunity_pipeline_id),
            STATUS_ORDER.index(stage.status_id),
            stage.name.casefold(),
            str(stage.id),
        ),
    )


def export_updates(
    rows: Iterable[StageUpdateLike | SourceRow],
    path_or_url: str | os.PathLike[str],
    *,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    null_marker: str | None = None,
) -> int:
    """Write updates to a file that gives them back as they are, such as `report.retryable()`.

    Args:
        rows: Updates, or rows of a source, in the order of the file.
        path_or_url: A path, or any URL that fsspec can write to.
        format: "csv", "jsonl" or "yaml"; None for what the name says.
        null_marker: The text that means null in a CSV file, where a blank leaves alone.

    Returns:
        How many rows were written.

    Raises:
        InvalidStageUpdates: When an update cannot be written so that it is read as it is.
        ExportFailed: When the file cannot be written.
    """
    url = os.fspath(path_or_url)
    name = file_name(url)
    kind = format or format_of(name)
    values = [_update_values(row) for row in rows]
    if kind == "parquet":
        raise InvalidStageUpdates([f"{name}: updates are written as csv, jsonl or yaml"])
    if kind == "yaml":
        content = rows_yaml(values)
    elif kind == "jsonl":
        content = _json_lines(values)
    else:
        used = {key for row in values for key in row}
        columns = [name for name in COLUMNS if name in used]
        content = _csv(
            [_marked(row, checked_marker(null_marker)) for row in values],
            [*columns, *sorted(used - set(columns))],
        )
    write_file(url, content.encode())
    return len(values)


def _stage_values(stage: Stage) -> dict[str, Any]:
    values: dict[str, Any] = {name: stage.value(name) for name in FIELD_NAMES}
    return dict(values, id=str(stage.id), created_at=stage.created_at.isoformat())


def _update_values(row: StageUpdateLike | SourceRow) -> dict[str, Any]:
    """Return what an update says in plain JSON types, by our names of the fields."""
    update = row.update if isinstance(row, SourceRow) else row
    said = update.model_dump() if isinstance(update, StageUpdate) else dict(update)
    values = {SNAKE_CASE.get(key, key): _plain(key, value) for key, value in said.items()}
    return {name: values[name] for name in (*COLUMNS, *values) if name in values}


def _plain(key: str, value: Any) -> Any:
    """Return a value in plain JSON types."""
    if isinstance(value, UUID | datetime):
        return value.isoformat() if isinstance(value, datetime) else str(value)
    plain = float(value) if isinstance(value, Decimal) else value
    plain = plain.item() if hasattr(plain, "item") else plain
    is_number = isinstance(plain, int | float) and math.isfinite(plain)
    is_text = isinstance(plain, str) and not _SURROGATE.search(plain)
    if not (plain is None or is_text or is_number):
        raise InvalidStageUpdates([f"{key} = {shown(value)}: not a value that a file can hold"])
    return plain


def _marked(row: Mapping[str, Any], null_marker: str | None) -> dict[str, str]:
    """Return a row as cells that are read as it is: a blank one would leave alone."""
    cells = {}
    for key, value in row.items():
        if value is None and null_marker is None:
            raise InvalidStageUpdates(
                [f"{key} = None: a CSV cell cannot say so: give null_marker, or write .jsonl"]
            )
        if is_blank(value) != (value is None) or (value is not None and value == null_marker):
            raise InvalidStageUpdates(
                [
                    f"{key} = {shown(value)}: a CSV cell would be read as something else:"
                    " write .jsonl"
                ]
            )
        cells[key] = null_marker if value is None and null_marker else _text(value)
    return cells


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _csv(rows: Iterable[Mapping[str, str]], columns: Sequence[str]) -> str:
    lines = [columns, *([row.get(name, "") for name in columns] for row in rows)]
    return "".join(map(_csv_line, lines))


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    # Written with the longer line end: with another one, a bare \r in a cell gets no quotes.
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
