"""Lets one run after the other write to a workspace, on this machine and on others."""

import time
from contextlib import ExitStack
from functools import partial

from prefect.logging import get_run_logger

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.machine import locked
from prefect_ruddr.runs.stopping import Stop
from prefect_ruddr.stages.stage import Workspace

LOCK_POLL_SECONDS = 0.2
"""How often a run looks whether the one before it on its machine has ended, in seconds."""

LIMIT_POLL_SECONDS = 0.5
"""How often it asks Prefect whether the one before it on another machine has, in seconds."""

LEASE_SECONDS = 60.0
"""How long other machines wait for one that was lost, in seconds; the least that Prefect takes."""

LOCKED = 423
"""The status with which Prefect says that a limit is taken."""


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
            wait = partial(self._wait, workspace, LOCK_POLL_SECONDS)
            lock = locked(f"writing-{workspace.id}", wait)
            self._held.enter_context(lock)
        except OSError as error:
            get_run_logger().warning(
                "There is no lock, so other runs on this machine may write at the same time: %s",
                error,
            )
        if self._limit:
            self._take_among_machines(self._limit, workspace)
        return self._waited

    def end(self) -> None:
        """Let the next run write."""
        self._held.close()

    def _take_among_machines(self, limit: str, workspace: Workspace) -> None:
        # A part of Prefect that nothing else loads: 8 ms.
        from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError  # noqa: PLC0415
        from prefect.concurrency.sync import concurrency  # noqa: PLC0415

        while True:
            # Prefect would wait by itself, but tell nobody, and not hear of a stop.
            slot = concurrency(limit, max_retries=0, lease_duration=LEASE_SECONDS)
            try:
                self._held.enter_context(slot)
            except ConcurrencySlotAcquisitionError as error:
                if getattr(getattr(error.__cause__, "response", None), "status_code", 0) != LOCKED:
                    raise
                self._wait(workspace, LIMIT_POLL_SECONDS)
            else:
                return

    def _wait(self, workspace: Workspace, seconds: float) -> None:
        if not self._waited:
            get_run_logger().info(
                "Another run is writing to workspace %s: waiting for its end (allow_overlap=True"
                " would not)",
                workspace.name,
            )
        self._waited = True
        self._stop.check()
        time.sleep(seconds)
