"""What the processes of one machine share: a folder of this user alone, locks, and a clock."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

try:
    import fcntl
except ImportError:  # a platform without it has no locks either
    fcntl = None  # type: ignore[assignment]

OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
"""How a file in the folder is opened: nobody may have laid a link there."""

FOLDER_VARIABLE = "RUDDR_STATE_FOLDER"
"""The environment variable that names another folder; all processes have to agree on it."""


_CLOCK = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))


def machine_time() -> float:
    """Return seconds that all processes of the machine count alike, also while it is suspended."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def state_folder() -> Path:
    """Return where the folder is: as the environment variable names it, or the user's own."""
    user = os.geteuid() if hasattr(os, "geteuid") else 0
    default = Path(tempfile.gettempdir()) / f"prefect-ruddr-{user}"
    return Path(os.environ.get(FOLDER_VARIABLE) or default)


def private_folder(folder: Path | None = None) -> Path:
    """Return the folder of this user on this machine, made where it is not there yet.

    Args:
        folder: Another one than the user's own.

    Raises:
        OSError: When it cannot be made, or is not this user's alone.
    """
    folder = folder or state_folder()
    try:
        found = folder.lstat()
    except FileNotFoundError:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    if hasattr(os, "geteuid") and (found.st_uid != os.geteuid() or found.st_mode & 0o077):
        raise PermissionError(f"others have access to {folder}")
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is no folder")
    return folder


def machine_id() -> str | None:
    """Return a text that is the same for all who share the folder, or None without one."""
    try:
        path = private_folder() / "machine"
        with suppress(FileExistsError), path.open("x", encoding="ascii") as file:
            file.write(uuid4().hex)
        return path.read_text(encoding="ascii") or None
    except OSError:
        return None


@contextmanager
def locked(
    name: str,
    wait: Callable[[], object] | None = None,
    *,
    folder: Path | None = None,
    keep: bool = True,
) -> Iterator[bool]:
    """Hold a lock of the machine, which ends with the process that holds it.

    Args:
        name: The name of the lock.
        wait: Called again and again while another holds it; it may raise. None to give up.
        folder: Where its file is, if not in the user's own folder.
        keep: Whether its file stays; only where nobody waits for the lock it need not.

    Yields:
        Whether the lock is held; False only where it is not to be waited for.

    Raises:
        OSError: When there is no folder for it.
    """
    if fcntl is None:
        raise OSError("this platform has no file locks")
    path = private_folder(folder) / f"{name}.lock"
    descriptor = os.open(path, OPEN | os.O_CREAT, 0o600)
    try:
        while not _taken(descriptor):
            if wait is None:
                yield False
                return
            wait()
        yield True
        if not keep:
            path.unlink(missing_ok=True)
    finally:
        # Closing alone would not do: a child that was forked just now holds it open too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
