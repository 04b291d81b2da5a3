"""Where the state of a budget lives: in a file that all processes of a machine lock, or here."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

from prefect_ruddr.pacing.bucket import RETRY_SECONDS, Bucket, State

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
Change: TypeAlias = Callable[[State, float], tuple[State, T]]
"""What a state becomes, and what is learned from it, at a time. It may be asked twice."""

FOLDER_VARIABLE = "RUDDR_BUDGET_DIR"
FILE_BYTES = 512
LOCK_SECONDS = 2.0
"""How long others may hold the lock, which takes them microseconds unless they are stopped."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def machine_time() -> float:
    """Return seconds that all processes of the machine count alike, also while it is suspended."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def budget_file(name: str) -> Path:
    """Return where the state of that name is: in `RUDDR_BUDGET_DIR`, or a folder of the user's."""
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    default = Path(tempfile.gettempdir()) / f"prefect-ruddr-{user}"
    return Path(os.environ.get(FOLDER_VARIABLE) or default) / name


class Keeper:
    """Keeps a state for all processes of this user on the machine.

    A file that was damaged, or that is from before a restart, begins anew with an empty bucket.
    While the file cannot be used, this process has a state of its own, with a warning.

    Args:
        bucket: The arithmetic.
        path: The file, in a folder that only this user has access to; None for memory alone.
        now: The clock.
        warn: Where the warning goes.
    """

    def __init__(
        self,
        bucket: Bucket,
        path: Path | None,
        now: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._bucket = bucket
        self._path = path
        self._now = now
        self._warn = warn
        self._own: State | None = None
        self._usable_at = 0.0

    def change(self, change: Change[T]) -> T:
        """Replace the state, and return what was learned from it."""
        if self._path is not None and self._now() >= self._usable_at:
            try:
                with _locked(self._path) as (file, is_new):
                    now = self._now()
                    state = State(now) if is_new else self._read(file, now)
                    self._own, learned = change(state, now)
                    if self._own is not state:
                        _write(file, [now, *self._own])
                    self._usable_at = 0.0
                    return learned
            except OSError as error:
                self._go_alone(error)
        now = self._now()
        self._own, learned = change(self._own or State(now), now)
        return learned

    def _read(self, file: int, now: float) -> State:
        try:
            saved_at, *values = json.loads(os.pread(file, FILE_BYTES, 0))
            if saved_at <= now and all(map(math.isfinite, values)):
                return State(*values)
        except (ValueError, TypeError, OverflowError):
            pass
        return self._bucket.empty(now)

    def _go_alone(self, error: OSError) -> None:
        if not self._usable_at:
            self._warn(
                "The request budget cannot be shared with the other processes of this machine, so"
                " this process paces itself alone; together they may get 429. Let"
                f" {FOLDER_VARIABLE} name a folder that only this user has access to: {error}"
            )
        self._usable_at = self._now() + RETRY_SECONDS


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
        _lock(folder)
        flags = os.O_RDWR | os.O_NOFOLLOW
        is_new = False
        try:
            file = os.open(path.name, flags, dir_fd=folder)
        except FileNotFoundError:
            file = os.open(path.name, flags | os.O_CREAT, 0o600, dir_fd=folder)
            is_new = True
        yield file, is_new
    finally:
        if file is not None:
            os.close(file)
        # Closing would not do: a child that was forked just now holds it open.
        fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)


def _lock(folder: int) -> None:
    give_up_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.001)


def _write(file: int, values: list[float]) -> None:
    text = json.dumps(values).ljust(FILE_BYTES).encode()
    if os.pwrite(file, text, 0) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
