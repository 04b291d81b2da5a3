"""The artifacts of a flow run: published, found again, and kept up to date while it goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort
from prefect.runtime import flow_run

from prefect_ruddr.prefect_api import PAGE, all_pages
from prefect_ruddr.stages.diff import in_view

Row = Mapping[str, Any]

ROWS_DIGEST = "rows_digest"
"""Where the metadata of a table hold the digest of its rows."""

LONGEST_CELL = 40
"""How many characters of a text a cell shows: two such columns fit into a window of 1200 pixels,
as Prefect's UI does not break the lines of a cell."""


def current_flow_run_id() -> UUID | None:
    """Return the id of the flow run we are in, or None outside of one."""
    return UUID(flow_run.id) if flow_run.id else None


def publish(
    key: str,
    kind: str,
    data: Any,
    description: str | None = None,
    metadata: dict[str, str] | None = None,
) -> UUID:
    """Create an artifact of this flow run.

    Args:
        key: What it is called.
        kind: "table", "markdown" or "progress".
        data: What that kind shows.
        description: What stands above it, in Markdown.
        metadata: What it holds besides, for programs.

    Returns:
        The id of the artifact.
    """
    # Not `create_table_artifact`, which cannot attach the metadata that an undo needs.
    with get_client(sync_client=True) as client:
        artifact = client.create_artifact(
            ArtifactCreate(
                key=key,
                type=kind,
                description=description,
                data=data,
                metadata_=metadata,
                flow_run_id=current_flow_run_id(),
            )
        )
    return artifact.id


def publish_table(
    key: str, rows: Sequence[Row], description: str, metadata: Mapping[str, str]
) -> UUID:
    """Create a table artifact whose rows can be told to be as they were published."""
    data, metadata = table_of(rows, metadata)
    return publish(key, "table", data, description, metadata)


def table_of(rows: Sequence[Row], metadata: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the data of a table artifact, and the metadata with the digest of the rows."""
    text = json.dumps(rows)
    return text, {**metadata, ROWS_DIGEST: _digest(text)}


def side_by_side(rows: Sequence[Row], one: str, other: str) -> list[Row]:
    """Cut the long texts of two columns to where they differ, so that both can be seen.

    Where any is cut, two more columns at the end have the texts in full.
    """
    cut = [in_view(row[one], row[other], LONGEST_CELL) for row in rows]
    if cut == [(row[one], row[other]) for row in rows]:
        return list(rows)
    return [
        {**row, one: left, other: right, in_full(one): row[one], in_full(other): row[other]}
        for row, (left, right) in zip(rows, cut, strict=True)
    ]


def in_full(column: str) -> str:
    """Return the name of the column that has the texts of another in full."""
    return f"{column} in full"


def read_table(artifact: Artifact) -> list[dict[str, Any]]:
    """Return the rows of a table artifact.

    Raises:
        ValueError: When the rows are not as they were published.
    """
    text = str(artifact.data)
    published = (artifact.metadata_ or {}).get(ROWS_DIGEST)
    if _digest(text) != published:
        raise ValueError(f"its digest is {_digest(text)}, not {published}")
    rows: list[dict[str, Any]] = json.loads(text)
    return rows


def artifacts_of(
    client: SyncPrefectClient, flow_run_ids: Collection[UUID], keys: Collection[str]
) -> list[Artifact]:
    """Return the artifacts of some runs with some keys, the oldest first."""
    wanted = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=list(flow_run_ids)),
        key=ArtifactFilterKey(any_=list(keys)),
    )
    newest_first = all_pages(
        lambda offset: client.read_artifacts(
            artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=PAGE, offset=offset
        )
    )
    return newest_first[::-1]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
