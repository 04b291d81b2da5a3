"""A PostgreSQL server for Prefect's, where PostgreSQL is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SUPERUSER = "prefect"


def programs() -> Path | None:
    """Return the folder of PostgreSQL's server programs; None where they are not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    # Debian keeps them off the path.
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_release)
    return debian[-1].parent if debian else None


@contextmanager
def postgres(port: int) -> Iterator[str]:
    """Run a server with an empty database on loopback.

    Args:
        port: Where it listens.

    Yields:
        The URL of the database, as Prefect takes it.
    """
    folder = programs()
    if folder is None:
        raise SystemExit("PostgreSQL is not installed: install it, or choose --database sqlite")
    # It refuses to be run by root.
    user = "nobody" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory() as home:
        if user:
            shutil.chown(home, user)
        data = Path(home) / "data"
        _run([folder / "initdb", "-D", data, "-U", SUPERUSER, "-A", "trust"], user)
        control: list[str | Path] = [folder / "pg_ctl", "-D", data, "-w", "-s"]
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home}"
        _run([*control, "-l", Path(home) / "log", "-o", options, "start"], user)
        try:
            yield f"postgresql+asyncpg://{SUPERUSER}@127.0.0.1:{port}/postgres"
        finally:
            _run([*control, "-m", "fast", "stop"], user)


def _release(initdb: Path) -> list[int]:
    return [int(part) for part in initdb.parents[1].name.split(".")]


def _run(command: Sequence[str | Path], user: str | None) -> None:
    # To a file that nobody reads: a pipe would stay open as long as the server that it starts.
    subprocess.run(command, user=user, check=True, cwd="/", stdout=subprocess.DEVNULL)
