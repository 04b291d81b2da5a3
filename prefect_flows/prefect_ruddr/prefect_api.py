"""How Prefect's API is called: page by page, and with fewer retries where long waits do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from prefect.context import SettingsContext, get_settings_context

T = TypeVar("T")

PAGE = 200
"""How many records Prefect's API gives at once."""


def all_pages(read_page: Callable[[int], list[T]]) -> list[T]:
    """Return all records of a list, in its order.

    Args:
        read_page: Reads at most `PAGE` records, after so many others.
    """
    found: list[T] = []
    while page := read_page(len(found)):
        found += page
        if len(page) < PAGE:
            break
    return found


@contextmanager
def few_retries(most: int) -> Iterator[None]:
    """Call Prefect's API with fewer retries inside; by itself it tries five times more, for 62 s.

    Args:
        most: How often a call is tried again.
    """
    context = get_settings_context()
    # Not `temporary_settings`, which reads all settings of Prefect's anew: a tenth of a second.
    client = context.settings.client.model_copy(update={"max_retries": most})
    settings = context.settings.model_copy(update={"client": client})
    with SettingsContext(profile=context.profile, settings=settings):
        yield
