"""Where the state of a budget lives: in a file that all processes of a machine lock, or here."""

from __future__ import annotations

import json
import math
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

from prefect_ruddr.machine import FOLDER_VARIABLE
from prefect_ruddr.pacing.bucket import RETRY_SECONDS, Bucket, State

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
Now: TypeAlias = Callable[[], float]
Warn: TypeAlias = Callable[[str], None]
Change: TypeAlias = Callable[[State, float], tuple[State, T]]
"""What a state becomes at a time, and what is learned from it; it may be asked twice."""

LOCK_SECONDS = 2.0  # how long others may hold the lock; they take microseconds unless stopped
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def machine_time() -> float:
    """Return seconds that all processes of the machine count alike, also while it is suspended."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


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
        with _locked(path) as (file, is_new):
            now = self._now()
            state = State(now) if is_new else self._read(file, now)
            changed, learned = change(state, now)
            line = json.dumps([now, *changed]).encode() + b"\n"
            if changed is not state and os.pwrite(file, line, 0) < len(line):
                raise OSError("the disk is full")
            self._own = changed
            return learned

    def _read(self, file: int, now: float) -> State:
        try:
            # What comes after the line is of a longer one.
            saved_at, *values, free = json.loads(os.pread(file, 2**16, 0).partition(b"\n")[0])
            if saved_at <= now and all(map(math.isfinite, values)):
                return State(*values)._replace(free=tuple(map(int, free)))
        except (ValueError, TypeError, OverflowError):
            pass
        return self._bucket.emptied(now)


@contextmanager
def _locked(path: Path) -> Iterator[tuple[int, bool]]:
    """Open a file while its folder is locked, and tell whether it is new.

    Opened each time, so that it does not matter who removes it, or who was forked from whom.
    """
    if fcntl is None:
        raise OSError("this platform has no flock")
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    file = None
    try:
        owned = os.fstat(folder)
        if owned.st_uid != os.geteuid() or stat.S_IMODE(owned.st_mode) & 0o077:
            raise PermissionError(f"others have access to {path.parent}")
        give_up_at = time.monotonic() + LOCK_SECONDS
        while time.monotonic() < give_up_at:
            with suppress(BlockingIOError):
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.001)
        else:
            raise OSError(f"another process does not let go of {path.parent}")
        is_new = not path.exists()
        file = os.open(path.name, _FLAGS, 0o600, dir_fd=folder)
        yield file, is_new
    finally:
        if file is not None:
            os.close(file)
        # Closing alone would not do: a child that was forked just now holds it open too.
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)
