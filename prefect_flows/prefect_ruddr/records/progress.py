"""Shows how far a run is, as a progress artifact, and never keeps the run waiting."""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import Self

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.logging import get_run_logger

from prefect_ruddr.records.artifacts import publish

PROGRESS_KEY = "ruddr-stage-progress"

PAUSE_SECONDS = 2.0
"""How long to wait between two updates, in seconds, so that calls of Prefect's API stay few."""

LAST_UPDATE_SECONDS = 10.0
"""How long the end of a run waits for the last update, in seconds."""


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
        self._thread.join(LAST_UPDATE_SECONDS)

    def show(self, done: int) -> None:
        """Record how many steps are done."""
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
