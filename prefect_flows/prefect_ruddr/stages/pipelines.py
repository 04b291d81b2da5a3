"""Pipelines by name. Ruddr's API has no names of pipelines, so somebody gives them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeAlias
from uuid import UUID

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.stages.stage import parse_uuid
from prefect_ruddr.texts import LONGEST_VALUE, listed, shown

PipelineIds: TypeAlias = Mapping[str, UUID | str]
"""The id of each pipeline, by what somebody calls it."""

LONGEST_PIPELINE_NAME = 255
"""How many characters the name of a pipeline may have."""


class PipelineNames:
    """What somebody calls the pipelines of a workspace.

    Args:
        ids: The id of each pipeline, by its name.

    Raises:
        InvalidStageUpdates: When a name is blank or a UUID, or an id is none.

    Examples:
        >>> names = PipelineNames({"New Business": "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2"})
        >>> names.find("New Business")
        UUID('b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2')
        >>> names.name_of(names.find("New Business"))
        'New Business'
    """

    def __init__(self, ids: PipelineIds | None = None) -> None:
        self._ids: dict[str, UUID] = {}
        errors = []
        for name, said in (ids or {}).items():
            pipeline = parse_uuid(said)
            if pipeline is None:
                errors.append(f"pipelines: {shown(name)} = {shown(said)}: not a UUID")
            elif not _is_name(name):
                errors.append(f"pipelines: {shown(name)}: not a name")
            else:
                self._ids[name] = pipeline
        if errors:
            raise InvalidStageUpdates(errors)
        self._names = {pipeline: name for name, pipeline in reversed(self._ids.items())}

    @property
    def ids(self) -> Mapping[str, UUID]:
        """The id of each pipeline, by its name."""
        return self._ids

    def find(self, said: Any) -> UUID:
        """Return the id of a pipeline that is given by its id or by its name.

        Raises:
            InvalidStageUpdates: When it is neither.
        """
        pipeline = parse_uuid(said)
        if pipeline is None and isinstance(said, str):
            pipeline = self._ids.get(said)
        if pipeline is None:
            raise InvalidStageUpdates([f"{shown(said)}: {self._unknown(said)}"])
        return pipeline

    def name_of(self, pipeline: UUID | str | None) -> str:
        """Return what a pipeline is called; its id where nobody has named it."""
        found = parse_uuid(pipeline)
        return self._names.get(found, str(found)) if found else "(not known)"

    def also(self, others: PipelineNames) -> PipelineNames:
        """Return these names together with others.

        Raises:
            InvalidStageUpdates: When a name stands for two pipelines.
        """
        errors = [
            f"pipelines: {shown(name)} = {pipeline}, but it is {self._ids[name]} elsewhere"
            for name, pipeline in others.ids.items()
            if self._ids.get(name, pipeline) != pipeline
        ]
        if errors:
            raise InvalidStageUpdates(errors)
        return PipelineNames({**self._ids, **others.ids})

    def _unknown(self, said: Any) -> str:
        if not isinstance(said, str) or not self._ids:
            return "not a UUID, and no pipeline has a name here: give its id, or pipelines"
        close = get_close_matches(said[:LONGEST_VALUE], self._ids, n=1)
        if close:
            return f"no such pipeline; did you mean {shown(close[0])}?"
        return f"no such pipeline; there are {listed(map(shown, self._ids))}"


def _is_name(name: Any) -> bool:
    is_text = isinstance(name, str) and len(name.strip()) > 0 and len(name) <= LONGEST_PIPELINE_NAME
    return is_text and parse_uuid(name) is None
