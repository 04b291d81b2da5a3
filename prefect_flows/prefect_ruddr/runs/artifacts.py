"""The artifacts of a flow run: published, read back, and one that shows how far the run is."""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.objects import Artifact
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

PROGRESS_KEY = "ruddr-stage-progress"

PAUSE_SECONDS = 2.0
"""How long to wait between two updates, in seconds, so that calls of Prefect's API stay few."""

PATIENCE_SECONDS = 10.0
"""How long the end of a run waits for the last update, in seconds."""


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


def artifacts_of(flow_run_id: UUID, key: str) -> list[Artifact]:
    """Return a run's artifacts of a key, the oldest first."""
    # Not `client.readartifacts_of`: it sends null for what it was not given, and Prefect's server
    # (3.8.8 with the FastAPI it needs) refuses that.
    with get_client(sync_client=True) as client:
        answer = client.request(
            "POST",
            "/artifacts/filter",
            json={
                "artifacts": {"flow_run_id": {"any_": [str(flow_run_id)]}, "key": {"any_": [key]}},
                "sort": "CREATED_DESC",
            },
        )
    return [Artifact.model_validate(artifact) for artifact in reversed(answer.json())]


class Progress:
    """A progress artifact of this flow run, kept up to date from a thread of its own.

    Prefect's API may be slow or away; that is no reason to hold up or to fail a run that
    writes to Ruddr.

    Args:
        total: How many steps there are.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._ended = threading.Event()
        # The thread needs to know which flow run this is, and Prefect's settings.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._keep_showing,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE_SECONDS)

    def show(self, done: int) -> None:
        """Take down how many steps are done."""
        self._done = done

    def _keep_showing(self) -> None:
        try:
            description = f"{self._total} changes, one PATCH each"
            artifact_id = publish(PROGRESS_KEY, "progress", 0.0, description)
            shown = 0.0
            ended = False
            with get_client(sync_client=True) as client:
                while not ended:
                    ended = self._ended.wait(PAUSE_SECONDS)
                    percent = round(100 * self._done / self._total, 1)
                    if percent != shown:
                        client.update_artifact(artifact_id, ArtifactUpdate(data=percent))
                        shown = percent
        except Exception as error:  # noqa: BLE001  # whatever it is, the run goes on
            get_run_logger().warning("The progress of this run is not shown: %s", error)
