"""A real Prefect server for tests, in a process and with a database of its own."""

from __future__ import annotations

import atexit
import fcntl
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import httpx

_LISTENER = socket.socket()
_LISTENER.bind(("127.0.0.1", 0))
# Inherited by its connections. An answer is two small writes, and without this the second one waits
# some 40 ms for the client to acknowledge the first: uvicorn cannot tell that it is TCP.
_LISTENER.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
atexit.register(_LISTENER.close)
API_URL = f"http://127.0.0.1:{_LISTENER.getsockname()[1]}/api"
"""Where the server of this process will be; the port is kept for it from the beginning."""

PATIENCE = 600.0
"""Seconds until a process or a run counts as stuck, on the slowest machine."""


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def waiting_for(what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Give turns of looking at what another process does, until that takes too long."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)
    raise TimeoutError(f"still waiting for {what}")


def wait_until_healthy(url: str) -> None:
    """Wait until a Prefect server answers."""
    with httpx.Client() as client:
        for _ in waiting_for(f"the Prefect server at {url}"):
            with suppress(httpx.TransportError):
                if client.get(f"{url}/health").is_success:
                    return


@contextmanager
def prefect_server(home: Path, made_before: Path) -> Iterator[None]:
    """Run the server of this process, at `API_URL`.

    Args:
        home: Where it keeps everything, such as `prefect.db`.
        made_before: A database as Prefect's migrations leave it, to begin with: they take as
            long as the rest of the start. Where there is none yet, this one is kept there.
    """
    database = home / "prefect.db"
    with ExitStack() as stack:
        with made_before.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one makes it, and the others wait
            is_made = made_before.exists()
            if is_made:
                fcntl.flock(lock, fcntl.LOCK_UN)
                database.write_bytes(made_before.read_bytes())
            stack.enter_context(started(home, database, is_made=is_made))
            if not is_made:
                keep(database, made_before)
        yield


@contextmanager
def started(home: Path, database: Path, *, is_made: bool) -> Iterator[None]:
    """Start a server, and wait until it answers."""
    command = [
        *(sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"),
        *("--fd", str(_LISTENER.fileno()), "--log-level", "error"),
    ]
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        # A database that was made before holds the block types. Writing them takes 4 s.
        "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": str(not is_made),
        # A step has three states. Kept one by one, they are a fifth of what the server does.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "25",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    }
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, pass_fds=[_LISTENER.fileno()], env=environment, stdout=log, stderr=log
        )
    try:
        wait_until_healthy(API_URL)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def keep(database: Path, path: Path) -> None:
    """Copy a database that is in use to a path, at once or not at all."""
    unfinished = path.with_suffix(f".{os.getpid()}")
    with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(unfinished)) as copy:
        source.backup(copy)
    unfinished.replace(path)
