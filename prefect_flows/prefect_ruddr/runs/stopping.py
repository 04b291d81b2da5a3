"""Stops a run: whether its steps may still send, and who may say that they may not."""

import threading
from contextvars import copy_context
from typing import Any, Self
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from prefect_ruddr.errors import RunStopped

LOOK_SECONDS = 1.0
"""How often Prefect is asked whether the run has been cancelled, in seconds."""


class Stop:
    """Tells all steps of a run in this process whether they may still send.

    A copy in another process never hears of it: there, what is under way goes on to its end.
    """

    def __init__(self) -> None:
        self._set = threading.Event()
        self.reason: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), ())

    def set(self, reason: str) -> None:
        """Let nothing more be sent; the first reason counts."""
        if not self._set.is_set():
            self.reason = reason
            self._set.set()

    def check(self) -> None:
        """Go on, if the run does.

        Raises:
            RunStopped: When the run has been stopped.
        """
        if self._set.is_set():
            raise RunStopped(f"the run was stopped: {self.reason}")

    def wait(self, seconds: float) -> bool:
        """Wait until the run is stopped, for so long at the most; tell whether it is."""
        return self._set.wait(seconds)


class Watch:
    """Stops a run when Prefect holds it, or the flow above it, for cancelled or ended.

    A signal reaches the main thread alone, so a run in another thread would go on.

    Args:
        stop: Set when the run is not to go on.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._ended = threading.Event()
        ids = {flow_run.id, flow_run.root_flow_run_id}
        self._flow_runs = [UUID(each) for each in ids if each]
        # The thread needs Prefect's settings.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._watch,), daemon=True, name="ruddr-watch"
        )

    def __enter__(self) -> Self:
        if self._flow_runs:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def _watch(self) -> None:
        try:
            with get_client(sync_client=True) as client:
                while not self._ended.wait(LOOK_SECONDS):
                    for each in self._flow_runs:
                        state = client.read_flow_run(each).state
                        if state and (state.is_cancelling() or state.is_final()):
                            self._stop.set(f"flow run {each} is {state.name}")
        except Exception as error:  # noqa: BLE001  # whatever it is, the run goes on
            get_run_logger().debug("Prefect was not asked whether the run is cancelled: %s", error)
