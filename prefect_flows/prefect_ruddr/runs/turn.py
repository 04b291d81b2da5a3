"""Lets one run after the other write to a workspace, on this machine and on others."""

import time
from contextlib import ExitStack
from functools import partial

from prefect.logging import get_run_logger

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.machine import locked
from prefect_ruddr.runs.stopping import Stop
from prefect_ruddr.stages.stage import Workspace

POLL_SECONDS = 0.2
"""How often a run looks whether the one before it has ended, in seconds."""


class Turn:
    """The turn to write to a workspace, which one run has at a time.

    It ends with the process, so nothing is left of a run that was killed.

    Args:
        ruddr_credentials: Says by its global concurrency limit whether other machines take turns
            too.
        overlap: Whether the run may write while others do; then there is nothing to wait for.
        stop: Ends the waiting.
    """

    def __init__(self, ruddr_credentials: RuddrCredentials, stop: Stop, *, overlap: bool) -> None:
        self._limit = ruddr_credentials.writers_limit
        self._overlap = overlap
        self._stop = stop
        self._held = ExitStack()
        self._waited = False

    def take(self, workspace: Workspace) -> bool:
        """Wait for the turn; tell whether another run had it.

        Raises:
            RunStopped: When the run was stopped while it waited.
        """
        if self._overlap:
            return False
        self._waited = False
        try:
            lock = locked(f"writing-{workspace.id}", partial(self._wait, workspace))
            self._held.enter_context(lock)
        except OSError as error:
            get_run_logger().warning(
                "There is no lock, so other runs on this machine may write at the same time: %s",
                error,
            )
        if self._limit:
            # Loads a part of Prefect that nothing else needs.
            from prefect.concurrency.sync import concurrency  # noqa: PLC0415

            self._held.enter_context(concurrency(self._limit, occupy=1))
        return self._waited

    def end(self) -> None:
        """Let the next run write."""
        self._held.close()

    def _wait(self, workspace: Workspace) -> None:
        if not self._waited:
            get_run_logger().info(
                "Another run is writing to workspace %s: waiting for its end (allow_overlap=True"
                " would not)",
                workspace.name,
            )
        self._waited = True
        self._stop.check()
        time.sleep(POLL_SECONDS)
