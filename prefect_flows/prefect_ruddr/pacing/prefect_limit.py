"""The Prefect global concurrency limit of a workspace: what fits it, and making it."""

from __future__ import annotations

import asyncio
import math
from typing import NamedTuple

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
)
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from prefect_ruddr.errors import GlobalConcurrencyLimitError

SLOTS_PER_REQUEST = 100
"""Prefect counts whole slots and drops the fraction at each grant; hundredths make that nothing."""

LAG_SECONDS = 0.4
"""How long a request may take from its lease to its arrival at Ruddr.

Prefect debits at the lease, Ruddr at the arrival. Requests that arrive in a window were leased in
one that is longer by the lag, so a limit that is smaller than Ruddr's bucket by `lag * rate`
requests never lets through more than that bucket holds. It costs the lag, once."""


class Limit(NamedTuple):
    """A global concurrency limit, measured in requests.

    Attributes:
        slots: How many slots one request occupies.
        size: The requests of a full limit.
        room: The requests that it still allowed when it was read.
    """

    slots: int
    size: float
    room: float


def fitting_size(requests_per_second: float, burst: int) -> tuple[int, float]:
    """Return the `limit` and the `slot_decay_per_second` that suit a vendor's bucket.

    Smaller than the bucket by what refills during the lag, or by half if it is a small one.
    """
    margin = min(LAG_SECONDS * requests_per_second, burst / 2)
    size = max(1.0, burst - margin)
    return int(size * SLOTS_PER_REQUEST), requests_per_second * SLOTS_PER_REQUEST


def measured(
    limit: GlobalConcurrencyLimitResponse, requests_per_second: float, burst: int
) -> Limit:
    """Return the limit in requests, whether it counts them in hundredths or whole.

    One that counts them whole works, but loses up to one request at each lease.

    Raises:
        GlobalConcurrencyLimitError: Neither its decay nor its size fits.
    """
    for slots in (SLOTS_PER_REQUEST, 1):
        if math.isclose(limit.slot_decay_per_second, requests_per_second * slots, rel_tol=1e-6):
            size = limit.limit / slots
            if 1 <= size <= burst:
                return Limit(slots, size, (limit.limit - limit.active_slots) / slots)
    wanted, decay = fitting_size(requests_per_second, burst)
    raise GlobalConcurrencyLimitError(
        f"The global concurrency limit {limit.name!r} (limit {limit.limit}, slot decay "
        f"{limit.slot_decay_per_second:g} per second) does not fit {requests_per_second:g} "
        f"requests per second with a burst of {burst}: set it to {wanted} and {decay:g}, as "
        "ruddr_credentials.ensure_global_concurrency_limit() does."
    )


def ensure_global_concurrency_limit(
    name: str, requests_per_second: float = 20.0, burst: int = 60
) -> None:
    """Create the global concurrency limit, or correct it. Doing it again changes nothing.

    Args:
        name: The name of the limit in Prefect.
        requests_per_second: The vendor's refill, in requests per second; documented as 20.
        burst: The vendor's bucket, in requests; documented as 60.
    """
    size, decay = fitting_size(requests_per_second, burst)
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            try:
                client.create_global_concurrency_limit(
                    GlobalConcurrencyLimitCreate(name=name, limit=size, slot_decay_per_second=decay)
                )
            except ObjectAlreadyExists:
                limit = client.read_global_concurrency_limit_by_name(name)
            else:
                return
        if (limit.limit, limit.slot_decay_per_second, limit.active) != (size, decay, True):
            client.update_global_concurrency_limit(
                name,
                GlobalConcurrencyLimitUpdate(
                    limit=size,
                    slot_decay_per_second=decay,
                    active=True,
                    # What was used before was counted differently: start from an empty bucket.
                    active_slots=size,
                ),
            )


async def aensure_global_concurrency_limit(
    name: str, requests_per_second: float = 20.0, burst: int = 60
) -> None:
    """Create the global concurrency limit, or correct it; the async twin.

    Args:
        name: The name of the limit in Prefect.
        requests_per_second: The vendor's refill, in requests per second; documented as 20.
        burst: The vendor's bucket, in requests; documented as 60.
    """
    await asyncio.to_thread(ensure_global_concurrency_limit, name, requests_per_second, burst)
