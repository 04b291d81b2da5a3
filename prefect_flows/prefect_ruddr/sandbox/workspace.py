"""The state of a sandbox: a workspace, its pipelines and their stages, and their rules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from prefect_ruddr.sandbox.answers import Refused

Stage = dict[str, Any]
"""A stage as on the wire. It is never changed in place: an update puts a new one there."""

DEFAULT_PAGE_SIZE = 10
"""Stages on a page when the request names no limit."""


@dataclass(frozen=True)
class WorkspaceData:
    """Everything a workspace holds, in the form of the wire.

    Attributes:
        workspace: `id` and `name`.
        pipelines: `id` and `name` of each.
        stages: In any order, each with its `opportunityPipelineId`.
        read_only: Ids of the stages that refuse changes.
    """

    workspace: Mapping[str, str]
    pipelines: list[dict[str, str]]
    stages: list[Stage]
    read_only: list[str] = field(default_factory=list)


class Workspace:
    """A workspace that answers as Ruddr documents; safe to use from several threads.

    Args:
        data: What it starts with.
        save: Is given the whole of it after each change, before the change is answered.

    Raises:
        ValueError: Two stages share an id, or a name and a pipeline; or a stage is in no
            pipeline of the workspace.
    """

    def __init__(
        self, data: WorkspaceData, save: Callable[[WorkspaceData], None] | None = None
    ) -> None:
        self.about = dict(data.workspace)
        self.pipelines = [dict(pipeline) for pipeline in data.pipelines]
        self._pipeline_ids = {pipeline["id"] for pipeline in data.pipelines}
        # Nothing changes createdAt, so the order of the list never changes either.
        newest_first = sorted(data.stages, key=lambda s: (s["createdAt"], s["id"]), reverse=True)
        self._stages = {stage["id"]: stage for stage in newest_first}
        self._order = list(self._stages)
        self._position = {stage_id: index for index, stage_id in enumerate(self._order)}
        self._identities = {_identity(stage): stage["id"] for stage in newest_first}
        self._read_only = set(data.read_only)
        self._save = save
        self._lock = threading.Lock()
        if len(self._stages) != len(data.stages):
            raise ValueError("two stages have the same id")
        if len(self._identities) != len(data.stages):
            raise ValueError("two stages of a pipeline have the same name")
        if unknown := {s["opportunityPipelineId"] for s in newest_first} - self._pipeline_ids:
            raise ValueError(f"there is no pipeline {min(unknown)}")

    def stages(self) -> list[Stage]:
        """Return copies of all stages, newest first."""
        with self._lock:
            return [dict(self._stages[stage_id]) for stage_id in self._order]

    def stage(self, stage_id: str) -> Stage:
        """Return a stage.

        Raises:
            Refused: 404, there is none with this id.
        """
        try:
            return self._stages[stage_id.lower()]
        except KeyError:
            raise Refused(404, "No opportunity stage has this id.") from None

    def page(
        self,
        *,
        limit: int = DEFAULT_PAGE_SIZE,
        name: str | None = None,
        starting_after: str | None = None,
        ending_before: str | None = None,
    ) -> tuple[list[Stage], bool]:
        """Return a page of stages, newest first, and whether more follow in its direction.

        A cursor need not be a stage of that name: it only marks a place in the list.

        Raises:
            Refused: 400, both cursors are given or the one given is unknown.
        """
        if starting_after is not None and ending_before is not None:
            raise Refused(400, "startingAfter and endingBefore exclude each other.")
        ids: Iterable[str] = self._order
        if starting_after is not None:
            ids = islice(self._order, self._place(starting_after, "startingAfter") + 1, None)
        elif ending_before is not None:
            # Backwards from the cursor, so that the page is the one right before it.
            place = self._place(ending_before, "endingBefore")
            ids = (self._order[index] for index in range(place - 1, -1, -1))
        with self._lock:
            found = (self._stages[stage_id] for stage_id in ids)
            matching = (stage for stage in found if name is None or stage["name"] == name)
            stages = list(islice(matching, limit + 1))
        page = stages[:limit]
        return (page[::-1] if ending_before is not None else page), len(stages) > limit

    def update(self, stage_id: str, fields: Mapping[str, Any]) -> Stage:
        """Set fields that the contract allows and return the stage as it is then.

        Texts are kept as they come, white space around them included; a description of
        white space alone becomes null.

        Raises:
            Refused: 404 no such stage, 409 read-only or of the same name as another one in
                the pipeline, 400 no such pipeline, 500 the change could not be saved.
        """
        with self._lock:
            before = self.stage(stage_id)
            if before["id"] in self._read_only:
                raise Refused(409, "This opportunity stage is read-only.")
            after = {**before, **fields}
            after["opportunityPipelineId"] = after["opportunityPipelineId"].lower()
            if after["description"] is not None and not after["description"].strip():
                after["description"] = None
            if after["opportunityPipelineId"] not in self._pipeline_ids:
                raise Refused(400, "No opportunity pipeline has this opportunityPipelineId.")
            if self._identities.get(_identity(after), after["id"]) != after["id"]:
                raise Refused(409, "The pipeline has another opportunity stage of this name.")
            self._put(before, after)
            try:
                self._saved()
            except OSError as error:
                self._put(after, before)
                raise Refused(500, f"The change could not be saved: {error}") from error
            return after

    def delete(self, stage_id: str) -> None:
        """Take a stage away, as somebody does in Ruddr itself: its API cannot.

        Raises:
            Refused: 404, there is none with this id.
        """
        with self._lock:
            stage = self.stage(stage_id)
            del self._stages[stage["id"]], self._identities[_identity(stage)]
            self._order = list(self._stages)
            self._position = {each: index for index, each in enumerate(self._order)}
            self._read_only.discard(stage["id"])
            self._saved()

    def make_read_only(self, stage_id: str) -> None:
        """Refuse any further change of a stage with 409, as for one that is synchronised.

        Raises:
            Refused: 404, there is none with this id.
        """
        with self._lock:
            self._read_only.add(self.stage(stage_id)["id"])
            self._saved()

    def save(self) -> None:
        """Save the workspace as it is.

        Raises:
            OSError: The state file cannot be written.
        """
        with self._lock:
            self._saved()

    def _place(self, cursor: str, parameter: str) -> int:
        try:
            return self._position[cursor.lower()]
        except KeyError:
            raise Refused(400, f"No opportunity stage has this id: {parameter}.") from None

    def _put(self, old: Stage, new: Stage) -> None:
        del self._identities[_identity(old)]
        self._identities[_identity(new)] = new["id"]
        self._stages[new["id"]] = new

    def _saved(self) -> None:
        if self._save is not None:
            self._save(
                WorkspaceData(
                    workspace=self.about,
                    pipelines=self.pipelines,
                    stages=list(self._stages.values()),
                    read_only=sorted(self._read_only),
                )
            )


def _identity(stage: Stage) -> tuple[str, str]:
    return stage["opportunityPipelineId"], stage["name"]
