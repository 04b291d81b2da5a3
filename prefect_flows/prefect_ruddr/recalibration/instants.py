"""Reads an instant, however a file or a database says it. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo


def instant(value: Any, zone: ZoneInfo | None) -> datetime:
    """Return an instant in UTC.

    Args:
        value: A datetime, a pandas Timestamp, a date (its first moment), or ISO 8601 text.
        zone: Where clocks are read that do not say it themselves.

    Raises:
        ValueError: When it is none, or nobody says in which zone; with a text to follow the
            column's name.
    """
    try:
        if hasattr(value, "to_pydatetime"):
            value = value.to_pydatetime(warn=False)
        elif isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if value.tzinfo is None and zone is not None:
            value = value.replace(tzinfo=zone)
        found: datetime | None = value.astimezone(UTC) if value.tzinfo is not None else None
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ValueError("is no instant such as 2026-03-05T14:30:00+01:00") from None
    if found is None:
        raise ValueError('has no time zone: give time_zone, such as "Europe/Berlin"')
    return found
