"""What is wrong with the fields of an update, each on one line. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from prefect_ruddr.stages.stage import FIELD_NAMES, SNAKE_CASE
from prefect_ruddr.texts import LONGEST_VALUE, one_line, shown

MOST_UNKNOWN = 20
"""How many unknown fields or columns are named; the others are counted."""

_LIMITS = {
    *("string_too_long", "string_too_short", "blank"),
    *("decimal_places", "less_than_equal", "greater_than_equal"),
}
"""The errors of values that Ruddr may hold all the same, though it would not take them."""

_MEANT = {"stage_id": "id"}
"""What is meant by a name that looks more like another one."""

_KNOWN = {"", "id", *FIELD_NAMES}


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with an update.

    Attributes:
        field: The field; empty where it is the whole update.
        value: What was given.
        text: Field, value and limit on one line.
        is_limit: Whether Ruddr may hold such a value all the same.
    """

    field: str
    value: Any
    text: str
    is_limit: bool = False


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return what is wrong, the id first; of unknown fields the first ones and their number."""
    found = [
        _field_error(detail) for detail in error.errors(include_url=False, include_context=False)
    ]
    unknown = [one for one in found if one.field not in _KNOWN]
    more = len(unknown) - MOST_UNKNOWN
    if more > 0:
        found = [one for one in found if one.field in _KNOWN] + unknown[:MOST_UNKNOWN]
        found.append(FieldError("", None, f"and {more} more fields that there are not"))
    return sorted(found, key=lambda one: one.field != "id")


def no_such(name: str, there_are: Collection[str]) -> str:
    """Say what a name that is not known may mean, or which names there are."""
    plain = name[:LONGEST_VALUE].strip().lower().replace(" ", "_").replace("-", "_")
    spellings = {camel.lower(): snake for camel, snake in SNAKE_CASE.items()}
    spellings |= {known.lower(): known for known in there_are}
    close = get_close_matches(plain, spellings, n=1, cutoff=0.7)
    meant = _MEANT.get(plain) or (spellings[close[0]] if close else None)
    return f"did you mean {meant}?" if meant else f"there are {', '.join(there_are)}"


def _field_error(detail: ErrorDetails) -> FieldError:
    parts = [str(part) for part in detail["loc"][:1]]
    field, value, kind = "".join(parts), detail["input"], detail["type"]
    if kind in {"model_type", "model_attributes_type"}:
        text = f"{shown(value)} is no update: give a StageUpdate or a mapping"
    elif not field:
        text = detail["msg"]
    elif kind == "missing":
        text = f"{field}: missing"
    elif kind == "extra_forbidden":
        name = one_line(field, LONGEST_VALUE)
        text = f"{name}: no such field; {no_such(field, ('id', *FIELD_NAMES))}"
    else:
        text = f"{one_line(field, LONGEST_VALUE)} = {shown(value)}: {detail['msg']}"
    return FieldError(field, value, text, kind in _LIMITS)
