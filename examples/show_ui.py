"""Opens Prefect's UI on the last `make run`: starts a server on what it left, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from urllib.error import URLError

from prefect.settings import PREFECT_HOME


def main() -> int:
    """Serve the UI until interrupted."""
    last_run = PREFECT_HOME.value() / "last-run"
    if not last_run.exists():
        print("Nothing to show yet: run `make run` first.", file=sys.stderr)
        return 1
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"PREFECT_UI_API_URL": f"{address}/api"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    server = subprocess.Popen(  # noqa: S603  # our own command
        command, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while not _answers(f"{address}/api/health"):
            if server.poll() is not None:
                return server.returncode
            time.sleep(0.2)
        page = f"{address}/runs/flow-run/{last_run.read_text()}"
        print(f"{page}\nCtrl-C ends it.", flush=True)
        webbrowser.open(page)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # our own server
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
