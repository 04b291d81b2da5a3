"""What a cell means: blanks, markers, numbers and booleans. Pure.

One rule for every table, be it a CSV or Parquet file, a frame or the answer to a query.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.texts import shown

Blank: TypeAlias = Literal["leave", "clear"]
"""What a blank description means: leave it alone, or clear it. Other blanks leave alone."""

TEXTS = {"name", "description", "stage"}
"""The columns whose white space counts."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def is_blank(cell: Any) -> bool:
    """Tell whether a cell is missing: None, white space, NaN, NaT or pandas' NA."""
    if cell is None:
        return True
    if isinstance(cell, str):
        return not cell or cell.isspace()
    try:
        return bool(cell != cell)  # noqa: PLR0124 - what NaN and NaT are known by
    except (ArithmeticError, TypeError, ValueError):
        # pandas' NA does not even know that; a list of cells is not missing.
        return type(cell).__name__ == "NAType"


def cell_value(field: str, cell: Any) -> Any:
    """Return what a cell says; what it cannot be is left for the judge to refuse."""
    if isinstance(cell, str):
        text = cell if field in TEXTS else cell.strip()
        if field == "probability" and _NUMBER.fullmatch(text):
            return Decimal(text)
        if field == "is_active":
            return _BOOLEANS.get(text.lower(), text)
        return text
    return _boolean(cell) if field == "is_active" else cell


def checked_marker(null_marker: str | None) -> str | None:
    """Return the marker.

    Raises:
        InvalidStageUpdates: When it is blank: a blank cell never is a marker.
    """
    if null_marker is not None and not null_marker.strip():
        raise InvalidStageUpdates(
            [
                f"null_marker = {shown(null_marker)}: should not be blank"
                ' (blank="clear" may be meant)'
            ]
        )
    return null_marker


def _boolean(cell: Any) -> Any:
    """Databases without booleans, and frames with missing ones, have 0 and 1."""
    try:
        plain = cell.item() if hasattr(cell, "item") else cell
        return bool(plain) if plain in (0, 1) else plain
    except (ArithmeticError, TypeError, ValueError):
        return cell
