"""How texts are cut, made harmless and counted for people to read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from itertools import takewhile
from numbers import Real
from typing import Any

LONGEST_TEXT = 500
"""How many characters of a text from elsewhere are kept."""

LONGEST_VALUE = 80
"""How many characters of a value an error shows."""

MOST_LISTED = 5
"""How many things of a kind an error names."""

_JOINERS = "\u200c\u200d"
"""Not printable, but harmless, and needed to spell: in Persian names, and in some emoji."""

# An underscore within a word means nothing in Markdown.
_MARKDOWN = re.compile(r"([\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w))")


def one_line(text: str, most: int = LONGEST_TEXT) -> str:
    r"""Return a text on one line that can be logged, stored and shown in a terminal.

    White space becomes one space, line breaks too. What is not printable becomes a
    replacement character: escapes, control characters, and marks that turn the direction of
    writing.

    Args:
        text: Any text.
        most: How many characters are kept at the most; where some are cut, `…` is the last.

    Examples:
        >>> one_line("Won\n\x1b[31mERROR")
        'Won �[31mERROR'
    """
    # Of a text without end, as much as is surely enough when the white space is gone.
    enough = 100 * most
    line = " ".join(text[:enough].split())
    if len(line) > most or len(text) > enough:
        line = f"{line[: most - 1]}…"
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() or c in _JOINERS else "\ufffd" for c in line)


def where_they_differ(one: str, other: str, most: int) -> tuple[str, str]:
    """Return two texts on a line each, of which a long one is cut to where they begin to differ.

    Args:
        one: Any text.
        other: Any other text.
        most: How many characters of each are kept at the most; `…` is where some are cut.

    Examples:
        >>> where_they_differ("A deal as good as won.", "A deal as good as lost.", 16)
        ('…ood as won.', '…ood as lost.')
    """
    lines = [one_line(text, max(len(text), 1)) for text in (one, other)]
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*lines, strict=False)))
    begin = max(same - most // 2, 0) if max(map(len, lines)) > most else 0
    left, right = (one_line(f"…{line[begin + 1 :]}" if begin else line, most) for line in lines)
    return left, right


def markdown(value: object, most: int = LONGEST_TEXT) -> str:
    r"""Return a value as Markdown that shows it on one line and does nothing else.

    Good for a cell of a table too.

    Examples:
        >>> markdown("[Won](http://example.org) | <b>")
        '\\[Won\\](http://example.org) \\| \\<b\\>'
    """
    return _MARKDOWN.sub(r"\\\1", one_line(str(value), most))


def shown(value: Any) -> str:
    """Return a value as an error shows it: at most 80 characters, and how many there were."""
    try:
        # The text of a number, not Decimal('1.5') or np.float64(1.5).
        text = str(value) if isinstance(value, Real | Decimal) else repr(value)
    except Exception:  # noqa: BLE001 - anybody's value: a number of 5,000 digits has no text
        text = f"({type(value).__name__} that cannot be shown)"
    text = one_line(text)
    if len(text) <= LONGEST_VALUE:
        return text
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{one_line(text, 61)}{length}"


def listed(texts: Iterable[str], most: int = MOST_LISTED) -> str:
    """Return the first texts with commas between them, and how many more there are."""
    all_of_them = list(texts)
    more = len(all_of_them) - most
    return ", ".join(all_of_them[:most]) + (f" and {more} more" if more > 0 else "")


def count(number: int, noun: str) -> str:
    """Return a number of things: "1 stage", "2 stages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
