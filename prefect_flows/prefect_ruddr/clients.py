"""The one client and the one request budget that a process has for a workspace."""

from __future__ import annotations

import atexit
import os
import threading
from functools import cache

from prefect_ruddr.api.connection import Connection
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.log import run_logger
from prefect_ruddr.pacing.budget import RequestBudget

_registry: dict[tuple[str, float, int, str | None], RequestBudget] = {}
_registry_lock = threading.Lock()


def ruddr_api(connection: Connection) -> RuddrApi:
    """Return the one `RuddrApi` of this process for a connection."""
    with _MAKING:
        return _ruddr_api(connection, os.getpid())


_MAKING = threading.Lock()


@cache
def _ruddr_api(connection: Connection, process: int) -> RuddrApi:  # noqa: ARG001
    # By process: a forked child must not write into its parent's sockets.
    budget = request_budget(
        connection.fingerprint,
        connection.requests_per_second,
        connection.burst,
        connection.global_concurrency_limit,
    )
    api = RuddrApi(connection, budget, run_logger)
    atexit.register(api.close)
    return api


def request_budget(
    workspace: str,
    requests_per_second: float,
    burst: int,
    global_concurrency_limit: str | None,
) -> RequestBudget:
    """Return the one budget of this process for these values.

    Args:
        workspace: Any text that tells workspaces apart; it must not hold a key.
        requests_per_second: The vendor's refill, in requests per second.
        burst: The vendor's bucket, in requests.
        global_concurrency_limit: The Prefect global concurrency limit that all processes and
            machines draw from, or None for a budget of this process alone.
    """
    values = (workspace, requests_per_second, burst, global_concurrency_limit)
    with _registry_lock:
        budget = _registry.get(values)
        if budget is None:
            source = None
            if global_concurrency_limit is not None:
                # Only those who share a limit pay for importing Prefect's client.
                from prefect_ruddr.pacing.shared import SharedLimit  # noqa: PLC0415

                source = SharedLimit(global_concurrency_limit, requests_per_second, burst)
            budget = RequestBudget(requests_per_second, burst, source=source)
            _registry[values] = budget
        return budget


def _start_afresh_in_child() -> None:
    global _registry_lock  # noqa: PLW0603 - the parent may have held it when it forked
    _registry_lock = threading.Lock()
    for budget in _registry.values():
        budget.start_afresh()


os.register_at_fork(after_in_child=_start_afresh_in_child)
