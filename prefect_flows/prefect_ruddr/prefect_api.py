"""How Prefect's API is called: page by page, and with fewer retries where long waits do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import SettingsContext, get_settings_context

PAGE = 200
"""How many records Prefect's API gives at once."""


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
