"""A workspace in a JSON file, which a killed sandbox leaves as of its last answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect_ruddr.sandbox.contract import load_contract, violations
from prefect_ruddr.sandbox.workspace import Workspace, WorkspaceData


class StateFileError(ValueError):
    """The state file exists and does not hold a workspace."""


def read_state(path: Path) -> WorkspaceData | None:
    """Return the workspace in the file; None if there is no file yet.

    Raises:
        StateFileError: The file is broken. The message is one line.
        OSError: The file cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise StateFileError(f"{path} is not a JSON file") from None
    try:
        data = WorkspaceData(
            workspace=content["workspace"],
            pipelines=content["pipelines"],
            stages=content["stages"],
            read_only=content["readOnly"],
        )
        _check(data)
    except (KeyError, TypeError, ValueError) as error:
        raise StateFileError(f"{path} does not hold a workspace: {_one_line(error)}") from None
    return data


def write_state(path: Path, data: WorkspaceData) -> None:
    """Replace the file by one that holds `data`, in one step.

    It survives the end of the process at any moment, but not the loss of the machine's
    power: the operating system still has the bytes, so nothing waits for the disk.

    Raises:
        OSError: The file cannot be written.
    """
    content: dict[str, Any] = {
        "workspace": data.workspace,
        "pipelines": data.pipelines,
        "stages": data.stages,
        "readOnly": data.read_only,
    }
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(content, indent=1 if len(data.stages) < 100 else None))
    beside.replace(path)


def _check(data: WorkspaceData) -> None:
    contract = load_contract()
    errors = violations(contract.workspace, data.workspace, "workspace")
    for index, pipeline in enumerate(data.pipelines):
        errors += violations(contract.workspace, pipeline, f"pipelines.{index}")
    for index, stage in enumerate(data.stages):
        errors += violations(contract.stage, stage, f"stages.{index}")
    if errors:
        raise ValueError(errors[0])
    if unknown := set(data.read_only) - {stage["id"] for stage in data.stages}:
        raise ValueError(f"readOnly: there is no stage {min(unknown)}")
    Workspace(data)


def _one_line(error: Exception) -> str:
    text = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())
