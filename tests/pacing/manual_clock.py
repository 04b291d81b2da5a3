"""A clock that stands still until a test moves it."""

from __future__ import annotations

import threading


class ManualClock:
    """Time for a `RequestBudget`, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits = 0
        self._condition: threading.Condition | None = None
        self._parked = threading.Event()

    def now(self) -> float:
        """Return the time that the test has set."""
        return self.seconds

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:  # noqa: ARG002
        """Wait until the test moves the time, or somebody notifies the condition."""
        self.waits += 1
        self._condition = condition
        self._parked.set()
        condition.wait()

    def settle(self) -> None:
        """Wait until the budget's thread has done all it can do at this time."""
        for thread in timekeepers():
            while thread.is_alive() and not self._parked.wait(0.01):
                pass

    def advance(self, seconds: float) -> None:
        """Move the time, and return when the budget's thread has done all that it now can."""
        self.settle()
        self.seconds += seconds
        if self._condition is not None:
            with self._condition:
                self._parked.clear()
                self._condition.notify_all()
            self.settle()


def timekeepers() -> list[threading.Thread]:
    """Return the threads that keep the time of a budget."""
    return [thread for thread in threading.enumerate() if thread.name == "ruddr-request-budget"]
