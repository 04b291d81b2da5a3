"""A process that sends requests through the budget of its workspace, as fast as it may.

Usage: python worker.py JUDGE_PORT REQUESTS THREADS RATE BURST [LIMIT]. It says `ready`, waits for
a line, and says `done` in the end, with the seconds of CPU that it took.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from pydantic import SecretStr

from prefect_ruddr.api.connection import Connection
from prefect_ruddr.clients import request_budget
from prefect_ruddr.pacing.budget import RequestBudget


def send(budget: RequestBudget, connections: threading.local, port: int) -> None:
    """Send one request and wait for its answer; a refused one slows the machine down."""
    if not hasattr(connections, "stream"):
        connections.stream = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
    while True:
        with budget.request():
            connections.stream.write(b"request\n")
            connections.stream.flush()
            answer = connections.stream.readline()
        if answer == b"200\n":
            return
        budget.slow_down(1.0)


def main() -> None:
    """Send the requests that the command line asks for."""
    port, requests, threads = (int(argument) for argument in sys.argv[1:4])
    limit = sys.argv[6] if len(sys.argv) > 6 else None
    budget = request_budget(
        Connection(
            f"http://127.0.0.1:{port}/workspace",
            SecretStr("the-key"),
            requests_per_second=float(sys.argv[4]),
            burst=int(sys.argv[5]),
            global_concurrency_limit=limit,
        )
    )
    connections = threading.local()
    print("ready", flush=True)
    sys.stdin.readline()
    with ThreadPoolExecutor(threads) as pool:
        for sent in [pool.submit(send, budget, connections, port) for _ in range(requests)]:
            sent.result()
    print("done", time.process_time(), flush=True)


if __name__ == "__main__":
    main()
