"""Where the state of a budget lives: in a file that all processes of a machine lock, or here."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

from prefect_ruddr.machine import FOLDER_VARIABLE, OPEN, locked
from prefect_ruddr.pacing.bucket import RETRY_SECONDS, Bucket, State

T = TypeVar("T")
Now: TypeAlias = Callable[[], float]
Warn: TypeAlias = Callable[[str], None]
Change: TypeAlias = Callable[[State, float], tuple[State, T]]
"""What a state becomes at a time, and what is learned from it; it may be asked twice."""

LOCK_SECONDS = 2.0  # how long others may hold the lock; they take microseconds unless stopped


class Keeper:
    """Keeps a state for all processes of this user on the machine, or for this process alone.

    A file that was damaged, or is from before a restart, begins anew with an empty bucket. While
    the file cannot be used, this process has a state of its own, with a warning.
    """

    def __init__(self, bucket: Bucket, path: Path | None, now: Now, warn: Warn) -> None:
        self._bucket, self._path, self._now, self._warn = bucket, path, now, warn
        self._own: State | None = None
        self._usable_at = 0.0

    def change(self, change: Change[T]) -> T:
        """Replace the state, and return what was learned from it."""
        if self._path is not None and self._now() >= self._usable_at:
            try:
                learned = self._change_file(self._path, change)
            except OSError as error:
                if not self._usable_at:
                    self._warn(
                        "No file can hold the request budget, so this process paces itself alone;"
                        f" with others it may get 429. {FOLDER_VARIABLE} may name a folder that"
                        f" only this user has access to: {error}"
                    )
                self._usable_at = self._now() + RETRY_SECONDS
            else:
                self._usable_at = 0.0
                return learned
        now = self._now()
        self._own, learned = change(self._own or State(now), now)
        return learned

    def _change_file(self, path: Path, change: Change[T]) -> T:
        # Opened each time, so that it does not matter who removes it, or who was forked from whom.
        wait = partial(_wait, time.monotonic() + LOCK_SECONDS)
        with locked(path.name, wait, folder=path.parent):
            file, is_new = _opened(path)
            try:
                now = self._now()
                state = State(now) if is_new else self._read(os.read(file, 2**16), now)
                changed, learned = change(state, now)
                line = json.dumps([now, *changed]).encode() + b"\n"
                if changed is not state and os.pwrite(file, line, 0) < len(line):
                    raise OSError("the disk is full")
            finally:
                os.close(file)
        self._own = changed
        return learned

    def _read(self, content: bytes, now: float) -> State:
        with suppress(ValueError, TypeError, OverflowError):
            # What comes after the line is of a longer one.
            saved_at, *values, free = json.loads(content.partition(b"\n")[0])
            if saved_at <= now and all(map(math.isfinite, values)):
                return State(*values)._replace(free=tuple(map(int, free)))
        return self._bucket.emptied(now)


def _opened(path: Path) -> tuple[int, bool]:
    """Return the file, and whether it is new."""
    try:
        return os.open(path, OPEN), False
    except FileNotFoundError:
        return os.open(path, OPEN | os.O_CREAT, 0o600), True


def _wait(until: float) -> None:
    if time.monotonic() > until:
        raise OSError("another process does not let go of it")
    time.sleep(0.001)
