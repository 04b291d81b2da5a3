"""The jobs that are measured: ours, the usual idioms of Prefect's users, and the floor.

Each function prepares a job and returns it, ready to be called.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import Any, TypeAlias, cast
from uuid import UUID

import httpx
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import rate_limit
from prefect.events import emit_event
from prefect.exceptions import ObjectAlreadyExists
from prefect.logging import get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff
from pydantic import SecretStr
from pyrate_limiter import Duration, Limiter, Rate, StateBucket, TokenBucket

from benchmarks.site import API_KEY, UNLIMITED
from prefect_ruddr import RuddrCredentials, StageUpdate, apply_stage_updates
from prefect_ruddr.api.connection import Connection
from prefect_ruddr.clients import request_budget
from prefect_ruddr.pacing.bucket import BURST
from prefect_ruddr.pacing.bucket import REQUESTS_PER_SECOND as RATE
from prefect_ruddr.runs.applying import CONCURRENCY

Job: TypeAlias = Callable[[], object]
PROBABILITY = 0.4321
"""What every job sets: no stage of the sandbox starts with it."""

FUNCTION_BEGAN: list[float] = []
"""When the function of a flow began, by the monotonic clock."""


def flow_of_ours(base_url: str, ids: list[str], *, limit: str | None = None, **budget: Any) -> Job:
    """`apply_stage_updates`, with plan, checks, artifacts, events and a step for each change."""
    credentials = _credentials(base_url, global_concurrency_limit=limit, **budget)
    if limit:
        credentials.ensure_global_concurrency_limit()
    updates = [StageUpdate(id=UUID(stage), probability=PROBABILITY) for stage in ids]
    return partial(_noted(apply_stage_updates), credentials, updates)


def no_op_flow_of_ours(base_url: str, ids: list[str]) -> Job:
    """`apply_stage_updates` where every stage already holds what is wanted."""
    credentials = _credentials(base_url, **UNLIMITED)
    held = {stage.id: stage.is_active for stage in credentials.get_client().list_stages()}
    updates = [StageUpdate(id=UUID(stage), is_active=held[UUID(stage)]) for stage in ids]
    return partial(_noted(apply_stage_updates), credentials, updates)


def call_layer_of_ours(base_url: str, ids: list[str], *, threads: int = 1) -> Job:
    """The call layer without Prefect: pacing, retries and typed answers, for each PATCH."""
    api = _credentials(base_url, **UNLIMITED).get_client()
    updates = [StageUpdate(id=UUID(stage), probability=PROBABILITY) for stage in ids]
    api.workspace()
    return partial(_each, api.update_stage, updates, threads)


def paced_httpx(base_url: str, ids: list[str], *, limit: str | None = None) -> Job:
    """Our request budget and nothing else of ours: each PATCH with plain httpx, 16 threads."""
    credentials = _credentials(base_url, global_concurrency_limit=limit)
    if limit:
        credentials.ensure_global_concurrency_limit()
    budget = request_budget(
        Connection(base_url, SecretStr(API_KEY), global_concurrency_limit=limit)
    )
    client = _client(base_url)

    def patch(stage: str) -> Any:
        with budget.request():
            return _patch(client, stage)

    return partial(_each, patch, ids, CONCURRENCY)


def paced_by_pyrate_limiter(base_url: str, ids: list[str]) -> Job:
    """The token bucket of `pyrate-limiter` in place of ours; it is for one process."""
    rate = Rate(int(RATE), Duration.SECOND, burst=BURST)
    limiter = Limiter(StateBucket([rate], TokenBucket()))
    client = _client(base_url)

    def patch(stage: str) -> Any:
        while True:
            limiter.try_acquire("workspace")
            try:
                return _patch(client, stage)
            except httpx.HTTPStatusError:
                time.sleep(1)

    return partial(_each, patch, ids, CONCURRENCY)


def plain_httpx(base_url: str, ids: list[str], *, threads: int = 1) -> Job:
    """One `httpx.Client`, without Prefect: the floor."""
    client = _client(base_url)
    client.get("/opportunity-stages", params={"limit": 1})
    return partial(_each, partial(_patch, client), ids, threads)


def flow_by_hand(
    base_url: str, ids: list[str], *, threads: int = CONCURRENCY, tells: bool = False
) -> Job:
    """The flow that people write: a task for each PATCH, mapped, on a client that they share.

    Where it tells, each step has a name, a log line and an event, as ours have.
    """

    @flow(task_runner=_runner(threads))
    def by_hand() -> None:
        with _client(base_url) as client:

            @task(cache_policy=NO_CACHE, task_run_name="{stage}: probability" if tells else None)
            def update(stage: str) -> Any:
                answer = _patch(client, stage)
                if tells:
                    resource = {"prefect.resource.id": f"stage.{stage}"}
                    emit_event("stage.updated", resource, payload={"probability": PROBABILITY})
                    get_run_logger().info("%s: probability → %s", stage, PROBABILITY)
                return answer

            update.map(ids).result()

    return _noted(by_hand)


def flow_with_rate_limit(base_url: str, ids: list[str], *, limit: str) -> Job:
    """The idiom of Prefect's documentation: `rate_limit` in each task."""
    with get_client(sync_client=True) as prefect:
        wanted = GlobalConcurrencyLimitCreate(name=limit, limit=BURST, slot_decay_per_second=RATE)
        with contextlib.suppress(ObjectAlreadyExists):
            prefect.create_global_concurrency_limit(wanted)
    client = _client(base_url)

    @task(cache_policy=NO_CACHE)
    def update(stage: str) -> Any:
        rate_limit(limit, strict=True)
        return _patch(client, stage)

    @flow(task_runner=_runner())
    def with_rate_limit() -> None:
        update.map(ids).result()

    return _noted(with_rate_limit)


def flow_with_retries(base_url: str, ids: list[str]) -> Job:
    """The other idiom: no pacing, and Prefect's task retries after a 429."""
    client = _client(base_url)

    @task(
        cache_policy=NO_CACHE,
        retries=10,
        retry_delay_seconds=exponential_backoff(backoff_factor=1),
        retry_jitter_factor=0.5,
    )
    def update(stage: str) -> Any:
        return _patch(client, stage)

    @flow(task_runner=_runner())
    def with_retries() -> None:
        update.map(ids).result(raise_on_failure=False)

    return _noted(with_retries)


def _noted(flow: Any) -> Callable[..., object]:
    """Return the flow, noting when its function begins: what went before is Prefect's own work."""
    function = flow.fn

    @wraps(function)
    def noting(*args: Any, **options: Any) -> object:
        FUNCTION_BEGAN.append(time.monotonic())
        return function(*args, **options)

    # Prefect reads the types of the parameters, whose names mean nothing in this module.
    vars(noting)["__signature__"] = inspect.signature(function, eval_str=True)
    noted = flow.with_options()
    noted.fn = noting
    return cast("Callable[..., object]", noted)


def _runner(threads: int = CONCURRENCY) -> Any:
    return ThreadPoolTaskRunner(max_workers=threads)


def _credentials(base_url: str, **options: Any) -> RuddrCredentials:
    return RuddrCredentials(api_key=SecretStr(API_KEY), base_url=base_url, **options)


def _client(base_url: str) -> httpx.Client:
    return httpx.Client(
        base_url=base_url, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=30
    )


def _patch(client: httpx.Client, stage: str) -> Any:
    response = client.patch(f"/opportunity-stages/{stage}", json={"probability": PROBABILITY})
    return response.raise_for_status().json()


def _each(call: Callable[[Any], object], items: list[Any], threads: int) -> None:
    if threads == 1:
        for item in items:
            call(item)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(call, items))
