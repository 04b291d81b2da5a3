"""The global concurrency limit of a workspace: what fits it, and making it fit."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials
from prefect_ruddr.errors import GlobalConcurrencyLimitError
from prefect_ruddr.pacing.bucket import Bucket
from prefect_ruddr.pacing.prefect_limit import (
    ensure_global_concurrency_limit,
    fitting,
    slots_per_request,
)


def response(limit: int, decay: float, active_slots: int = 0) -> GlobalConcurrencyLimitResponse:
    return GlobalConcurrencyLimitResponse(
        name="ruddr", limit=limit, slot_decay_per_second=decay, active_slots=active_slots
    )


def read(name: str) -> GlobalConcurrencyLimitResponse:
    with get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(name)


def create(name: str, limit: int, decay: float, *, active: bool = True) -> None:
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(
            GlobalConcurrencyLimitCreate(
                name=name, limit=limit, slot_decay_per_second=decay, active=active
            )
        )


def credentials(name: str) -> RuddrCredentials:
    return RuddrCredentials(api_key=SecretStr("key"), global_concurrency_limit=name)


def ensure(name: str) -> None:
    credentials(name).ensure_global_concurrency_limit()


def ensure_from_event_loop(name: str) -> None:
    asyncio.run(credentials(name).aensure_global_concurrency_limit())


both_colours = pytest.mark.parametrize(
    "ensure", [ensure, ensure_from_event_loop], ids=["sync", "async"]
)


@pytest.mark.parametrize(
    ("rate", "burst", "size"),
    [
        pytest.param(20.0, 60, (5200, 2000.0), id="the vendor's: 0.4 s less than 60"),
        pytest.param(20.0, 10, (500, 2000.0), id="a small bucket: half of it"),
        pytest.param(20.0, 1, (100, 2000.0), id="no burst: one request must fit"),
        pytest.param(0.5, 60, (5980, 50.0), id="a slow refill"),
    ],
)
def test_the_limit_is_a_little_smaller_than_the_bucket(
    rate: float, burst: int, size: tuple[int, float]
) -> None:
    """The margin is for requests that arrive later than they were leased."""
    wanted = fitting(Bucket(rate, burst))
    assert (wanted["limit"], wanted["slot_decay_per_second"]) == size


@pytest.mark.parametrize(
    ("limit", "slots"),
    [
        pytest.param(response(6000, 2000, 1500), 100, id="hundredths"),
        pytest.param(response(5000, 2000), 100, id="hundredths with a margin"),
        pytest.param(response(60, 20, 15), 1, id="whole requests"),
        pytest.param(response(10, 20), 1, id="part of the bucket"),
    ],
)
def test_a_limit_counts_in_hundredths_or_whole_requests(
    limit: GlobalConcurrencyLimitResponse, slots: int
) -> None:
    """Which of them, its decay tells."""
    assert slots_per_request(limit, Bucket()) == slots


@pytest.mark.parametrize(
    "limit",
    [
        pytest.param(response(60, 0), id="no decay"),
        pytest.param(response(60, 10), id="another decay"),
        pytest.param(response(61, 20), id="more than the bucket"),
        pytest.param(response(6100, 2000), id="more than the bucket, in hundredths"),
        pytest.param(response(99, 2000), id="less than one request"),
    ],
)
def test_a_limit_that_fits_neither_way_is_refused(limit: GlobalConcurrencyLimitResponse) -> None:
    """The message says what it should be, and what sets it right."""
    with pytest.raises(
        GlobalConcurrencyLimitError,
        match=r"'ruddr' .* set it to 5200 and 2000, as .*ensure_global_concurrency_limit",
    ):
        slots_per_request(limit, Bucket())


@both_colours
@pytest.mark.usefixtures("prefect_api")
def test_a_missing_limit_is_created(ensure: Callable[[str], None]) -> None:
    """With the vendor's documented limits."""
    name = f"ruddr-{uuid.uuid4()}"

    ensure(name)

    limit = read(name)
    assert (limit.limit, limit.slot_decay_per_second, limit.active_slots) == (5200, 2000, 0)


@both_colours
@pytest.mark.usefixtures("prefect_api")
def test_a_limit_that_is_right_is_left_alone(ensure: Callable[[str], None]) -> None:
    """It is not even touched, so those who use it notice nothing."""
    name = f"ruddr-{uuid.uuid4()}"
    ensure(name)
    before = read(name)

    ensure(name)

    assert read(name).updated == before.updated


@pytest.mark.parametrize(
    ("limit", "decay", "active"),
    [
        pytest.param(60, 20.0, True, id="whole requests"),
        pytest.param(5000, 0.0, True, id="no decay"),
        pytest.param(5000, 2000.0, False, id="inactive"),
    ],
)
@pytest.mark.usefixtures("prefect_api")
def test_a_limit_that_is_not_right_is_corrected(limit: int, decay: float, active: bool) -> None:
    """It starts with nothing to give: what was used before was counted differently."""
    name = f"ruddr-{uuid.uuid4()}"
    create(name, limit, decay, active=active)

    ensure_global_concurrency_limit(name, Bucket())

    corrected = read(name)
    assert (corrected.limit, corrected.slot_decay_per_second) == (5200, 2000)
    assert corrected.active
    assert corrected.active_slots > 0


@pytest.mark.usefixtures("prefect_api")
def test_many_may_create_the_limit_at_once() -> None:
    """One of them does; all of them find it as it should be."""
    name = f"ruddr-{uuid.uuid4()}"

    with ThreadPoolExecutor(8) as threads:
        ensured = [threads.submit(copy_context().run, ensure, name) for _ in range(8)]
        for future in ensured:
            future.result()

    assert read(name).limit == 5200
