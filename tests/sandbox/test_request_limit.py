"""The request limit of a workspace: a token bucket."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from prefect_ruddr.sandbox import Sandbox, TokenBucket

from .conftest import EXAMPLE, client_of


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time in seconds."""
        return self.now


def taken(bucket: TokenBucket, attempts: int) -> int:
    return sum(bucket.take() for _ in range(attempts))


def test_a_full_bucket_gives_its_burst() -> None:
    """At first as many requests pass as the bucket holds, and no more."""
    bucket = TokenBucket(rate=20, burst=60, clock=Clock())
    assert taken(bucket, 100) == 60
    assert bucket.refused == 40


@pytest.mark.parametrize(
    ("seconds", "passed"), [(0.04, 0), (0.05, 1), (1, 20), (2.975, 59), (3, 60), (3600, 60)]
)
def test_tokens_flow_back_at_the_rate(seconds: float, passed: int) -> None:
    """An empty bucket of 60 at 20/s has 20 more after a second and is full after three."""
    clock = Clock()
    bucket = TokenBucket(rate=20, burst=60, clock=clock)
    taken(bucket, 60)
    clock.now += seconds
    assert taken(bucket, 100) == passed


def test_a_refused_request_costs_nothing() -> None:
    """Attempts above the limit do not delay the next token."""
    clock = Clock()
    bucket = TokenBucket(rate=1, burst=1, clock=clock)
    taken(bucket, 10)
    clock.now += 1
    assert bucket.take()


def test_without_a_rate_there_is_no_limit() -> None:
    """`rate=None` lets everything pass."""
    bucket = TokenBucket(rate=None, burst=1)
    assert taken(bucket, 1000) == 1000
    assert bucket.refused == 0


@pytest.mark.parametrize(
    ("rate", "burst"), [(0, 60), (-1, 60), (float("nan"), 60), (float("inf"), 60), (20, 0)]
)
def test_a_limit_that_makes_no_sense_is_refused(rate: float, burst: int) -> None:
    """A rate must be positive and finite, a burst at least one request."""
    with pytest.raises(ValueError, match="must be"):
        TokenBucket(rate=rate, burst=burst)


@pytest.fixture
def limited() -> Iterator[Sandbox]:
    """A sandbox with three tokens, and more in a quarter of an hour."""
    with Sandbox(rate=0.001, burst=3) as running:
        yield running


def test_a_request_above_the_limit_is_429(limited: Sandbox) -> None:
    """It is answered in JSON, counted, not carried out, and no Retry-After is promised."""
    with client_of(limited) as ruddr:
        assert [ruddr.get(EXAMPLE).status_code for _ in range(3)] == [200] * 3
        answer = ruddr.patch(EXAMPLE, json={"probability": 0.1})
    assert answer.status_code == 429
    assert answer.json()["status"] == 429
    assert "retry-after" not in answer.headers
    assert limited.refused == 1
    assert limited.stages[0]["probability"] == 0.75


def test_refused_input_uses_the_limit_up_too(limited: Sandbox) -> None:
    """404, 405 and 400 are requests of the workspace like any other."""
    with client_of(limited) as ruddr:
        ruddr.get("nothing-here")
        ruddr.delete(EXAMPLE)
        ruddr.patch(EXAMPLE, json={})
        assert ruddr.get(EXAMPLE).status_code == 429


def test_a_request_without_the_key_uses_nothing_up(limited: Sandbox) -> None:
    """Without a valid key a request belongs to no workspace."""
    for _ in range(5):
        assert httpx.get(limited.base_url).status_code == 401
    with client_of(limited) as ruddr:
        assert [ruddr.get(EXAMPLE).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_edits_use_nothing_up(limited: Sandbox) -> None:
    """`edit` is not a request."""
    for tenth in range(10):
        limited.edit(limited.stages[0]["id"], probability=tenth / 10)
    with client_of(limited) as ruddr:
        assert ruddr.get(EXAMPLE).status_code == 200
