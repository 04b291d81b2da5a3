"""The one client and the one request budget that a process has for a workspace."""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
from collections import OrderedDict
from weakref import WeakValueDictionary, finalize

from prefect_ruddr.api.connection import Connection
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.log import run_logger
from prefect_ruddr.machine import state_folder
from prefect_ruddr.pacing.bucket import Bucket
from prefect_ruddr.pacing.budget import RequestBudget

MOST_KEPT = 16
"""How many clients are kept that nobody uses at the moment."""


def ruddr_api(connection: Connection) -> RuddrApi:
    """Return the one `RuddrApi` of this process for a connection.

    The last `MOST_KEPT` that were asked for are kept. An earlier one, as of a key that was
    rotated, closes its connections as soon as nobody holds it any more.
    """
    return _of_this_process().api(connection)


def request_budget(connection: Connection) -> RequestBudget:
    """Return the one budget of this process for a workspace, its limits and its shared limit."""
    return _of_this_process().budget(connection)


def forget_clients() -> None:
    """Keep no client of this process; each closes its connections when nobody uses it."""
    _of_this_process().forget()


class _Clients:
    """Those of one process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._kept: OrderedDict[Connection, RuddrApi] = OrderedDict()
        self._used: WeakValueDictionary[Connection, RuddrApi] = WeakValueDictionary()
        self._budgets: WeakValueDictionary[str, RequestBudget] = WeakValueDictionary()

    def api(self, connection: Connection) -> RuddrApi:
        with self._lock:
            api = self._used.get(connection)
            if api is None:
                api = RuddrApi(connection, self.budget(connection), run_logger)
                self._used[connection] = api
            self._kept[connection] = api
            self._kept.move_to_end(connection)
            # Closed after the lock is released, as that may take a while.
            dropped = self._kept.popitem(last=False) if len(self._kept) > MOST_KEPT else None
        del dropped
        return api

    def forget(self) -> None:
        with self._lock:
            dropped, self._kept = self._kept, OrderedDict()
        del dropped

    def budget(self, connection: Connection) -> RequestBudget:
        limits = connection.requests_per_second, connection.burst
        limit = connection.global_concurrency_limit
        # Shared by those who agree on all of it; the name tells neither the key nor the address.
        shared_by = repr((connection.fingerprint, *limits, limit))
        name = hashlib.sha256(shared_by.encode()).hexdigest()[:16]
        with self._lock:
            budget = self._budgets.get(name)
            if budget is None:
                budget = _new_budget(name, Bucket(*limits, shared=limit is not None), limit)
                self._budgets[name] = budget
            return budget


def _new_budget(name: str, bucket: Bucket, limit: str | None) -> RequestBudget:
    if limit is None:
        return RequestBudget(bucket, state_folder() / f"budget-{name}", warn=_warn)
    # Where Prefect is not loaded yet, that takes 1.4 s: only those who share a limit pay for it.
    from prefect_ruddr.pacing.prefect_limit import PrefectLimit  # noqa: PLC0415

    shared = PrefectLimit(limit, bucket)
    budget = RequestBudget(bucket, state_folder() / f"budget-{name}", shared.lease, warn=_warn)
    finalize(budget, shared.close).atexit = False
    return budget


def _warn(message: str) -> None:
    run_logger().warning(message)


_BY_PROCESS: dict[int, _Clients] = {}


def _of_this_process() -> _Clients:
    # By process, and without a lock: a forked child must not write into its parent's sockets, and
    # a lock that a thread of the parent held when it forked would stay locked.
    return _BY_PROCESS.get(os.getpid()) or _BY_PROCESS.setdefault(os.getpid(), _Clients())


atexit.register(forget_clients)
