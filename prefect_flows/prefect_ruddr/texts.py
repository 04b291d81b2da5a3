"""How texts are cut and counted for people to read. Pure."""

from __future__ import annotations

from decimal import Decimal
from numbers import Real
from typing import Any

LONGEST_TEXT = 500
"""How many characters of a text from elsewhere are kept."""


def bounded(text: str) -> str:
    """Return the text on one line, cut to 500 characters that can be shown and stored."""
    line = " ".join(text.split())
    cut = line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"
    # A database refuses a NUL, and an encoder half a character; a terminal obeys an escape.
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in cut)


def shown(value: Any) -> str:
    """Return a value as an error shows it: at most 80 characters, and how many there were."""
    # The text of a number, not Decimal('1.5') or np.float64(1.5).
    text = bounded(str(value) if isinstance(value, Real | Decimal) else repr(value))
    if len(text) <= 80:
        return text
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{text[:60]}…{length}"


def count(number: int, noun: str) -> str:
    """Return a number of things: "1 stage", "2 stages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
