"""Budgets on a clock that tests move."""

from __future__ import annotations

import pytest

from prefect_ruddr.pacing.budget import RequestBudget

from .manual_clock import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def empty_budget(clock: ManualClock) -> RequestBudget:
    """A budget of one request a second and a bucket of three, which are spent."""
    budget = RequestBudget(1.0, 3, clock=clock)
    for _ in range(3):
        with budget.request():
            pass
    return budget
