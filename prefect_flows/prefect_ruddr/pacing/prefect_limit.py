"""The Prefect global concurrency limit that several machines share: making it, leasing from it."""

from __future__ import annotations

import math
import random
import threading
import time
from contextlib import ExitStack
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import actions
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.machine import machine_time
from prefect_ruddr.pacing.bucket import ANSWER_SECONDS, ASK_SECONDS, Bucket
from prefect_ruddr.pacing.keeping import Now
from prefect_ruddr.prefect_api import few_retries

HUNDREDTHS = 100  # Prefect counts whole slots and drops the fraction at each grant


class PrefectLimit:
    """A global concurrency limit, by name, from which turns are leased."""

    def __init__(self, name: str, bucket: Bucket, now: Now = machine_time) -> None:
        self._name, self._bucket, self._now = name, bucket, now
        self._lock = threading.Lock()
        self._opened = ExitStack()
        self._client: tuple[str | None, SyncPrefectClient] | None = None

    def lease(self, wanted: int) -> tuple[int, float, float]:
        """Occupy slots, which decay, for requests and a few more while half of the limit is free.

        Returns for how many, a time before which they were not, and for how many there is room.
        """
        give_up_at = time.monotonic() + ANSWER_SECONDS
        with self._lock, few_retries(0):
            while True:
                try:
                    return self._leased(self._connected(), wanted)
                except PrefectHTTPStatusError as error:
                    if error.response.status_code != 503 or time.monotonic() > give_up_at:
                        raise
                    # On SQLite it is busy when another write came between its read and its write.
                    time.sleep(random.uniform(0, 0.1))  # noqa: S311 - not a secret
                except ObjectNotFound:
                    raise GlobalConcurrencyLimitError(
                        f"The global concurrency limit {self._name!r} does not exist: create it"
                        " with ruddr_credentials.ensure_global_concurrency_limit()."
                    ) from None

    def close(self) -> None:
        """Close the connection to Prefect's API."""
        self._opened.close()

    def _leased(self, client: SyncPrefectClient, wanted: int) -> tuple[int, float, float]:
        asked_at = self._now()
        limit = client.read_global_concurrency_limit_by_name(self._name)
        slots = slots_per_request(limit, self._bucket)
        room = (limit.limit - limit.active_slots) / slots
        if 2 * room > limit.limit / slots:
            wanted += round(ASK_SECONDS * self._bucket.requests_per_second)
        turns = min(wanted, int(room))
        if turns < 1:
            return 0, asked_at, 0
        try:
            client.increment_concurrency_slots([self._name], turns * slots, "rate_limit")
        except PrefectHTTPStatusError as error:
            if error.response.status_code == 423:  # another machine was faster
                return 0, asked_at, 0
            raise
        return turns, asked_at, room - turns

    def _connected(self) -> SyncPrefectClient:
        """Return a client of the API in use; making one takes a seventh of a second."""
        api_url = PREFECT_API_URL.value()
        if self._client is None or self._client[0] != api_url:
            self._opened.close()
            # With settings of its own it is not the client of a flow run, which ends with that run.
            client = get_client(httpx_settings={"timeout": ANSWER_SECONDS / 2}, sync_client=True)
            self._client = api_url, self._opened.enter_context(client)
        return self._client[1]


def fitting(bucket: Bucket) -> dict[str, Any]:
    """Return what a limit has to be so that it suits a vendor's bucket."""
    size, decay = int(bucket.size * HUNDREDTHS), bucket.requests_per_second * HUNDREDTHS
    return {"limit": size, "slot_decay_per_second": decay, "active": True}


def slots_per_request(limit: GlobalConcurrencyLimitResponse, bucket: Bucket) -> int:
    """Return how many slots one request occupies: hundredths of it, or one.

    A limit that counts whole requests works, but loses up to one at each lease.
    """
    rate, decay, wanted = bucket.requests_per_second, limit.slot_decay_per_second, fitting(bucket)
    for slots in (HUNDREDTHS, 1):
        if math.isclose(decay, rate * slots) and 1 <= limit.limit / slots <= bucket.burst:
            return slots
    raise GlobalConcurrencyLimitError(
        f"The global concurrency limit {limit.name!r} (limit {limit.limit}, slot decay {decay:g})"
        f" does not fit {rate:g} requests a second, burst {bucket.burst}: set it to"
        f" {wanted['limit']} and {wanted['slot_decay_per_second']:g}, as"
        " ensure_global_concurrency_limit() does."
    )


def ensure_global_concurrency_limit(name: str, bucket: Bucket) -> None:
    """Create the global concurrency limit, or correct it. Doing it again changes nothing."""
    wanted = fitting(bucket)
    with get_client(sync_client=True) as client:
        try:
            create = actions.GlobalConcurrencyLimitCreate(name=name, **wanted)
            client.create_global_concurrency_limit(create)
        except ObjectAlreadyExists:
            limit = client.read_global_concurrency_limit_by_name(name)
            if not wanted.items() <= limit.model_dump().items():
                # What was used before was counted differently: start from an empty bucket.
                correct = actions.GlobalConcurrencyLimitUpdate(**wanted)
                correct.active_slots = correct.limit
                client.update_global_concurrency_limit(name, correct)
