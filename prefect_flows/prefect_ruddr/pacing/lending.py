"""The calls of Prefect's API that read a global concurrency limit and lease from it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.pacing.prefect_limit import Limit, measured

T = TypeVar("T")

REFUSED = (422, 423)
"""Prefect's answers where there is no room for so many slots: ever, or now."""

BUSY = 503

BUSY_WAITS = (0.02, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 1.0, 1.0, 2.0)
"""At most so many seconds until a server that was busy is asked again. On SQLite it is busy when
another write came between its read and its write, which the next attempt may well escape."""


class ServerBusy(Exception):
    """Prefect's server answered 503, as it does when two clients write to its SQLite at once."""


class Lender:
    """Reads a limit and leases from it. Made by `lending`.

    Attributes:
        asking_since: When the call was made that is not answered yet, or None.
    """

    def __init__(self, client: SyncPrefectClient, name: str) -> None:
        self._client = client
        self._name = name
        self.asking_since: float | None = None

    def read(self, requests_per_second: float, burst: int) -> Limit:
        """Return the limit as it is now, in requests.

        Raises:
            GlobalConcurrencyLimitError: It is missing or does not fit.
        """
        try:
            limit = self._call(
                lambda: self._client.read_global_concurrency_limit_by_name(self._name)
            )
        except ObjectNotFound:
            raise self._missing() from None
        return measured(limit, requests_per_second, burst)

    def lease(self, slots: int) -> float | None:
        """Occupy slots, which nobody gives back: they decay.

        Returns:
            The time before which they were not occupied; None if there is no room for them.

        Raises:
            GlobalConcurrencyLimitError: The limit is missing.
        """
        occupy = partial(
            self._client.increment_concurrency_slots, [self._name], slots, "rate_limit"
        )
        try:
            asked_at, leased = self._call(lambda: (time.monotonic(), occupy()))
        except PrefectHTTPStatusError as error:
            if error.response.status_code in REFUSED:
                return None
            raise
        if not leased.json():
            raise self._missing()
        return asked_at

    def _call(self, call: Callable[[], T]) -> T:
        self.asking_since = time.monotonic()
        try:
            for wait in BUSY_WAITS:
                try:
                    return call()
                except ServerBusy:
                    time.sleep(random.uniform(0, wait))  # noqa: S311
            return call()
        finally:
            self.asking_since = None

    def _missing(self) -> GlobalConcurrencyLimitError:
        return GlobalConcurrencyLimitError(
            f"The global concurrency limit {self._name!r} does not exist: create it with "
            "ruddr_credentials.ensure_global_concurrency_limit()."
        )


@contextmanager
def lending(name: str, timeout: float) -> Iterator[Lender]:
    """Connect to Prefect's API.

    Args:
        name: The name of the limit.
        timeout: How long to wait for an answer, in seconds.

    Yields:
        What leases from the limit.
    """
    # Prefect's client would wait two seconds after a 503, and after the next one four. With
    # settings of its own it also is not the client of a flow run, which ends with that run.
    settings = {"timeout": timeout, "event_hooks": {"response": [_raise_if_busy]}}
    with get_client(httpx_settings=settings, sync_client=True) as client:
        yield Lender(client, name)


def _raise_if_busy(response: Any) -> None:
    if response.status_code == BUSY:
        raise ServerBusy("503, the server is busy")
