"""A workspace in a JSON file, which a killed sandbox leaves as of its last answer."""

from __future__ import annotations

import json
from pathlib import Path

from prefect_ruddr.sandbox.contract import load_contract, schema_errors
from prefect_ruddr.sandbox.workspace import Stage, Workspace, WorkspaceData


class StateFileError(ValueError):
    """The state file exists and does not hold a workspace."""


class StateFile:
    """A JSON file with a workspace, one stage on a line.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # A stage is never changed in place, so its line holds for as long as it is the same
        # object. With 10,000 stages this is most of the work of a write.
        self._lines: dict[str, tuple[Stage, str]] = {}

    def read(self) -> WorkspaceData | None:
        """Return the workspace in the file; None if there is no file yet.

        Raises:
            StateFileError: The file is broken. The message is one line.
            OSError: The file cannot be read.
        """
        try:
            content = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise StateFileError(f"{self._path} is not a JSON file") from None
        try:
            data = WorkspaceData(
                workspace=content["workspace"],
                pipelines=content["pipelines"],
                stages=content["stages"],
                read_only=content["readOnly"],
            )
            _check(data)
        except (KeyError, TypeError, ValueError) as error:
            raise StateFileError(f"{self._path} holds no workspace: {_one_line(error)}") from None
        return data

    def write(self, data: WorkspaceData) -> None:
        """Replace the file by one that holds `data`, in one step.

        It survives the end of the process at any moment, but not the loss of the machine's
        power: the operating system has the bytes by then, and nothing waits for the disk.

        Raises:
            OSError: The file cannot be written.
        """
        text = (
            f'{{"workspace": {json.dumps(data.workspace)},\n'
            f'"pipelines": {json.dumps(data.pipelines)},\n'
            f'"readOnly": {json.dumps(data.read_only)},\n'
            '"stages": [\n' + ",\n".join(map(self._line, data.stages)) + "\n]}\n"
        )
        beside = self._path.with_name(f"{self._path.name}.new")
        beside.write_text(text, encoding="ascii")
        beside.replace(self._path)

    def _line(self, stage: Stage) -> str:
        known = self._lines.get(stage["id"])
        if known is None or known[0] is not stage:
            known = self._lines[stage["id"]] = (stage, json.dumps(stage))
        return known[1]


def _check(data: WorkspaceData) -> None:
    contract = load_contract()
    errors = schema_errors(contract.workspace, data.workspace, "workspace")
    for index, pipeline in enumerate(data.pipelines):
        errors += schema_errors(contract.workspace, pipeline, f"pipelines.{index}")
    for index, stage in enumerate(data.stages):
        errors += schema_errors(contract.stage, stage, f"stages.{index}")
    if errors:
        raise ValueError(errors[0])
    if unknown := set(data.read_only) - {stage["id"] for stage in data.stages}:
        raise ValueError(f"readOnly: there is no stage {min(unknown)}")
    Workspace(data)


def _one_line(error: Exception) -> str:
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())
