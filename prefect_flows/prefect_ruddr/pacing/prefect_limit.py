"""The Prefect global concurrency limit that several machines share: making it, leasing from it."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.pacing.bucket import ANSWER_SECONDS, Bucket
from prefect_ruddr.pacing.keeping import machine_time

SLOTS_PER_REQUEST = 100
"""Prefect counts whole slots and drops the fraction at each grant; hundredths make that nothing."""


class PrefectLimit:
    """A global concurrency limit of a workspace.

    Args:
        name: The name of the limit in Prefect.
        bucket: The vendor's limits.
        now: The clock of the budget.
    """

    def __init__(self, name: str, bucket: Bucket, now: Callable[[], float] = machine_time) -> None:
        self._name = name
        self._bucket = bucket
        self._now = now
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._client: tuple[str | None, SyncPrefectClient] | None = None
        self._deadline = 0.0

    def lease(self, wanted: int, ahead: int) -> tuple[int, float, float]:
        """Occupy slots for `wanted` requests, and `ahead` more while half of the limit is free.

        Nobody gives them back: they decay.

        Returns:
            How many requests they are for, a time before which they were not occupied, and how
            many requests the limit has left.

        Raises:
            GlobalConcurrencyLimitError: The limit is missing or does not fit.
        """
        with self._lock:
            self._deadline = time.monotonic() + ANSWER_SECONDS
            while True:
                try:
                    return self._leased(self._connected(), wanted, ahead)
                except _ServerBusy:
                    # On SQLite it is when another write came between its read and its write.
                    time.sleep(random.uniform(0, 0.1))  # noqa: S311 - not a secret

    def close(self) -> None:
        """Close the connection to Prefect's API."""
        self._client = None
        self._opened.close()

    def _leased(
        self, client: SyncPrefectClient, wanted: int, ahead: int
    ) -> tuple[int, float, float]:
        try:
            limit = client.read_global_concurrency_limit_by_name(self._name)
        except ObjectNotFound:
            raise GlobalConcurrencyLimitError(
                f"The global concurrency limit {self._name!r} does not exist: create it with "
                "ruddr_credentials.ensure_global_concurrency_limit()."
            ) from None
        slots = slots_per_request(limit, self._bucket)
        room = (limit.limit - limit.active_slots) / slots
        turns = min(int(room), wanted + (ahead if 2 * room > limit.limit / slots else 0))
        asked_at = self._now()
        if turns > 0:
            try:
                client.increment_concurrency_slots([self._name], turns * slots, "rate_limit")
            except PrefectHTTPStatusError as error:
                if error.response.status_code != 423:
                    raise
                turns = room = 0  # others were faster
        return turns, asked_at, room - turns

    def _connected(self) -> SyncPrefectClient:
        """Return a client of the API in use; making one takes a seventh of a second."""
        api_url = PREFECT_API_URL.value()
        if self._client is None or self._client[0] != api_url:
            self._opened.close()
            # With settings of its own it is not the client of a flow run, which ends with that run.
            hooks = {"request": [self._raise_if_late], "response": [_raise_if_busy]}
            settings = {"timeout": ANSWER_SECONDS / 2, "event_hooks": hooks}
            client = get_client(httpx_settings=settings, sync_client=True)
            self._client = api_url, self._opened.enter_context(client)
        return self._client[1]

    def _raise_if_late(self, _: Any) -> None:
        # Prefect's client would try again for more than a minute.
        if time.monotonic() > self._deadline:
            raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s")


class _ServerBusy(Exception):
    """Prefect's server answered 503; its client would wait for two seconds, and then for four."""


def _raise_if_busy(response: Any) -> None:
    if response.status_code == 503:
        raise _ServerBusy


def fitting_size(bucket: Bucket) -> tuple[int, float]:
    """Return the `limit` and the `slot_decay_per_second` that suit a vendor's bucket."""
    return int(bucket.size * SLOTS_PER_REQUEST), bucket.requests_per_second * SLOTS_PER_REQUEST


def slots_per_request(limit: GlobalConcurrencyLimitResponse, bucket: Bucket) -> int:
    """Return how many slots of a limit one request occupies: hundredths, or one.

    A limit that counts whole requests works, but loses up to one request at each lease.

    Raises:
        GlobalConcurrencyLimitError: Neither its decay nor its size fits.
    """
    rate = bucket.requests_per_second
    for slots in (SLOTS_PER_REQUEST, 1):
        fits = math.isclose(limit.slot_decay_per_second, rate * slots, rel_tol=1e-6)
        if fits and 1 <= limit.limit / slots <= bucket.burst:
            return slots
    wanted, decay = fitting_size(bucket)
    raise GlobalConcurrencyLimitError(
        f"The global concurrency limit {limit.name!r} (limit {limit.limit}, slot decay "
        f"{limit.slot_decay_per_second:g} per second) does not fit {rate:g} "
        f"requests per second with a burst of {bucket.burst}: set it to {wanted} and {decay:g}, as "
        "ruddr_credentials.ensure_global_concurrency_limit() does."
    )


def ensure_global_concurrency_limit(name: str, requests_per_second: float, burst: int) -> None:
    """Create the global concurrency limit, or correct it. Doing it again changes nothing."""
    size, decay = fitting_size(Bucket(requests_per_second, burst))
    wanted = {"limit": size, "slot_decay_per_second": decay, "active": True}
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            try:
                create = GlobalConcurrencyLimitCreate(name=name, **wanted)
                client.create_global_concurrency_limit(create)
            except ObjectAlreadyExists:
                limit = client.read_global_concurrency_limit_by_name(name)
            else:
                return
        if wanted.items() - limit.model_dump().items():
            # What was used before was counted differently: start from an empty bucket.
            correct = GlobalConcurrencyLimitUpdate(**wanted, active_slots=size)
            client.update_global_concurrency_limit(name, correct)


async def aensure_global_concurrency_limit(
    name: str, requests_per_second: float, burst: int
) -> None:
    """Async version of `ensure_global_concurrency_limit`."""
    await asyncio.to_thread(ensure_global_concurrency_limit, name, requests_per_second, burst)
