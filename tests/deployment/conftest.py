"""Prefect as a team runs it: a server, `make deploy`, a saved block, a process worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prefect_ruddr.sandbox import Sandbox

from .installation import API_KEY, Installation, installed


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox Ruddr for all runs of the module."""
    with Sandbox(api_key=API_KEY, rate=None) as listening:
        yield listening


@pytest.fixture(scope="module")
def installation(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """One with a worker."""
    with installed(tmp_path_factory.mktemp("prefect"), sandbox) as running:
        yield running
