"""A client of the sandbox that says over the wire exactly what a test tells it to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import httpx
import pytest

from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Whom a client of the sandbox trusts, as it speaks no TLS: loading all takes it 25 ms."""

EXAMPLE = f"opportunity-stages/{EXAMPLE_STAGE_ID}"
"""The path of the documented example stage."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A fresh sandbox on a free port, without a rate limit."""
    with Sandbox(rate=None) as running:
        yield running


@pytest.fixture
def ruddr(sandbox: Sandbox) -> Iterator[httpx.Client]:
    """An HTTP client with the sandbox's URL and key."""
    with client_of(sandbox) as client:
        yield client


def client_of(sandbox: Sandbox) -> httpx.Client:
    headers = {"Authorization": f"Bearer {sandbox.api_key}"}
    return httpx.Client(
        base_url=sandbox.base_url, headers=headers, timeout=10, verify=NO_AUTHORITIES
    )
