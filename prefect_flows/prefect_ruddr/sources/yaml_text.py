"""Writes stages as code: YAML that people edit, that git compares line by line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from itertools import groupby
from typing import Any

from pydantic import ValidationError

from prefect_ruddr.stages.field_errors import field_errors
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.stage import FIELD_NAMES, Stage
from prefect_ruddr.stages.update import StageFields

HEADER = """\
# The opportunity stages of a Ruddr workspace, one list for each pipeline.
#
# Edit values. Delete a line to leave a field alone. `description: null` clears a description.
# Cut a stage and paste it under another pipeline to move it there. Leave `id` as it is.
# Then give this file to `apply-stage-file`: first as a dry run, to see what would change.
"""

_SIMPLE = re.compile(r"[^\W\d_](?:[\w ./()&'+-]*[\w.)+])?")
"""A text that means the same without quotes."""

_RESERVED = re.compile(r"y|n|yes|no|on|off|true|false|null|nan|inf", re.IGNORECASE)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def stages_yaml(stages: Sequence[Stage], pipelines: PipelineNames) -> str:
    """Return stages as YAML, grouped by pipeline.

    Args:
        stages: The stages in their order, those of a pipeline together.
        pipelines: What pipelines are called.
    """
    lines = [HEADER]
    if pipelines.ids:
        lines.append("pipelines:")
        lines += [f"  {scalar(name)}: {pipelines.ids[name]}" for name in sorted(pipelines.ids)]
        lines.append("")
    lines.append("stages:" if stages else "stages: {}")
    for pipeline, group in groupby(stages, key=lambda stage: stage.opportunity_pipeline_id):
        if pipeline is None:
            lines.append("  ~:  # Ruddr does not say which pipeline these are in")
        else:
            lines.append(f"  {scalar(pipelines.name_of(pipeline))}:")
        for stage in group:
            lines += _stage_lines(stage)
    return "\n".join(lines) + "\n"


def rows_yaml(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as YAML: a plain list.

    Args:
        rows: Texts, numbers, booleans and nulls by the names of the fields.
    """
    lines = []
    for row in rows:
        start = "- "
        if not row:
            lines.append("- {}")
        for key, value in row.items():
            lines.append(f"{start}{scalar(key)}: {_value(value, '  ')}")
            start = "  "
    return "\n".join(lines or ["[]"]) + "\n"


def scalar(text: str) -> str:
    """Return a text as YAML on one line, in quotes where it could be read as anything else."""
    if _SIMPLE.fullmatch(text) and text.isprintable() and not _RESERVED.fullmatch(text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def _stage_lines(stage: Stage) -> Iterator[str]:
    created = stage.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    yield f"    - id: {stage.id}  # created {created.replace('+00:00', 'Z')}"
    refused = _refused(stage)
    for field in FIELD_NAMES:
        if field == "opportunity_pipeline_id":
            continue
        value = stage.value(field)
        if field in refused:
            text = scalar(value) if isinstance(value, str) else value
            yield f"      # {field}: {text}: it is so in Ruddr, but cannot be set"
        else:
            yield f"      {field}: {_value(value, '      ')}"


def _refused(stage: Stage) -> set[str]:
    """Return the fields whose values Ruddr holds, but would not take."""
    try:
        StageFields.model_validate(stage)
    except ValidationError as error:
        return {found.field for found in field_errors(error)}
    return set()


def _value(value: Any, indent: str) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    lines = value.removesuffix("\n").split("\n")
    if not (len(lines) > 1 and lines[0] and lines[-1] and all(map(_is_simple, lines))):
        return scalar(value)
    # Line by line, as people edit it and git compares it.
    start = "|" if value.endswith("\n") else "|-"
    return "\n".join([start, *(f"{indent}  {line}" if line else "" for line in lines)])


def _is_simple(line: str) -> bool:
    return line.isprintable() and line == line.strip()


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    # YAML takes a byte order mark nowhere but at the beginning.
    if character.isprintable() and character != "\ufeff":
        return character
    return f"\\U{ord(character):08x}"
