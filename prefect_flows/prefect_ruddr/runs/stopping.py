"""Stops a run: whether its steps may still send, and who may say that they may not."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from time import time
from types import FrameType
from typing import Any, Self
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from prefect_ruddr.errors import RunStopped
from prefect_ruddr.machine import private_folder, state_folder

CANCELLATION_POLL_SECONDS = 1.0
"""How often Prefect is asked whether the run has been cancelled, in seconds."""

STOPPED = "stopped"
KEPT_SECONDS = 24 * 60 * 60.0
"""How long the file of a stop is kept: longer than any step waits for its turn."""


class Stop:
    """Tells all steps of a run whether they may still send.

    Steps in other processes of the machine hear of it by a file, which is there from the stop on.
    Steps on other machines do not: what is under way there goes on to its end.

    Args:
        name: The name of that file; None for a new one.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name or f"{STOPPED}-{uuid4().hex}"
        self._set = threading.Event()
        self._holds_signals = False
        self._held: Callable[[], None] | None = None
        self.reason: str | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self._name,))

    def set(self, reason: str) -> None:
        """Let nothing more be sent; the first reason counts."""
        if not self._set.is_set():
            self.reason = reason
            self._set.set()
            # Without the folder, only this process knows.
            with suppress(OSError):
                _sweep()
                (private_folder() / self._name).write_text(reason, encoding="utf-8")

    def check(self) -> None:
        """Go on, if the run does.

        Raises:
            RunStopped: When the run has been stopped.
        """
        if not self._set.is_set():
            with suppress(OSError):
                self.reason = (state_folder() / self._name).read_text(encoding="utf-8")
                self._set.set()
        if self._set.is_set():
            raise RunStopped(f"the run was stopped: {self.reason}")

    @contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Have a signal wait until what is inside is over; for the main thread, and not for long.

        What its handler raises could leave the lock of a step's future taken. The step could then
        never end, and the run would wait for it for ever.
        """
        self._holds_signals = True
        try:
            yield
        finally:
            self._holds_signals = False
            held, self._held = self._held, None
            if held:
                held()

    def hold(self, signal_: Callable[[], None]) -> bool:
        """Keep what a signal does for the end of what must not be interrupted; tell whether."""
        if self._holds_signals:
            self._held = signal_
        return self._holds_signals

    def wait(self, seconds: float) -> bool:
        """Wait until the run is stopped, for so long at the most; tell whether it is."""
        return self._set.wait(seconds)


def _sweep() -> None:
    """Remove the files of stops that no step can still be waiting for."""
    for each in private_folder().glob(f"{STOPPED}-*"):
        if time() - each.stat().st_mtime > KEPT_SECONDS:
            each.unlink(missing_ok=True)


class Watch:
    """Stops a run that is interrupted, and one that Prefect holds for cancelled or ended.

    An interrupt stops it even where the exception gets lost: Python ignores what is raised in a
    callback of the garbage collector, where a signal may well be handled. A signal reaches the
    main thread alone, so a run in another thread learns from Prefect that it was cancelled.

    Args:
        stop: Set when the run is not to go on.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._undone = ExitStack()
        self._is_over = threading.Event()
        ids = {flow_run.id, flow_run.root_flow_run_id}
        self._flow_runs = [UUID(each) for each in ids if each]
        # The thread needs Prefect's settings.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._watch,), daemon=True, name="ruddr-watch"
        )

    def __enter__(self) -> Self:
        if self._flow_runs:
            self._thread.start()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._listen(number)
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._undone.close()

    def _listen(self, number: signal.Signals) -> None:
        handler = signal.getsignal(number)
        if not callable(handler):
            return

        def interrupt(received: int, frame: FrameType | None) -> None:
            try:
                handler(received, frame)
            except BaseException:
                self._stop.set(f"it was interrupted by {number.name}")
                raise

        def handle(received: int, frame: FrameType | None) -> None:
            if not self._stop.hold(partial(interrupt, received, frame)):
                interrupt(received, frame)

        signal.signal(number, handle)
        self._undone.callback(signal.signal, number, handler)

    def _watch(self) -> None:
        try:
            with get_client(sync_client=True) as client:
                while not self._is_over.wait(CANCELLATION_POLL_SECONDS):
                    for each in self._flow_runs:
                        state = client.read_flow_run(each).state
                        if state and (state.is_cancelling() or state.is_final()):
                            self._stop.set(f"flow run {each} is {state.name}")
        except Exception as error:  # noqa: BLE001  # whatever it is, the run goes on
            get_run_logger().debug("Prefect was not asked whether the run is cancelled: %s", error)
