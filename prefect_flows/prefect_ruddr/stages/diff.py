"""How changes read to people: in a line, and as a coloured diff. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.text import Text

from prefect_ruddr.stages.stage import FieldName, FieldValue
from prefect_ruddr.texts import one_line, where_they_differ

LONGEST_SIDE = 60
"""How many characters of a value a line shows on either side of its arrow."""

FieldStep = tuple[FieldName, FieldValue, FieldValue]
"""A field, its value before, and its value after."""


class Entry(NamedTuple):
    """What a diff says of one stage.

    Attributes:
        label: What a person knows the stage by.
        steps: The fields that differ.
        what: What became of it, or is to.
        style: How rich shows that, such as "bold red".
        note: One more line, such as an error.
    """

    label: str
    steps: tuple[FieldStep, ...]
    what: str
    style: str
    note: str | None = None


def in_view(
    before: FieldValue, after: FieldValue, most: int = LONGEST_SIDE
) -> tuple[FieldValue, FieldValue]:
    """Return the two values of a change; long texts are cut to where they begin to differ."""
    one, other = (value if isinstance(value, str) else "" for value in (before, after))
    if max(len(one), len(other)) <= most:
        return before, after
    left, right = where_they_differ(one, other, most)
    return left if one else before, right if other else after


def value_texts(before: FieldValue, after: FieldValue) -> tuple[str, str]:
    """Return the two values of a change as a person reads them, each on one line."""
    one, other = map(_value_text, in_view(before, after))
    return one, other


def _value_text(value: FieldValue) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else one_line(str(value))


def change_text(steps: Iterable[FieldStep]) -> str:
    """Return the changes of a stage on one line: `probability 0.75 → 0.8, is_active yes → no`."""
    return ", ".join(
        f"{field} {' → '.join(value_texts(before, after))}" for field, before, after in steps
    )


def diff(title: str, entries: Iterable[Entry], left_out: int = 0) -> Text:
    """Return what changes as a text with a line for each field, coloured where that shows.

    Args:
        title: The first line.
        entries: What there is to say, a stage at a time.
        left_out: How many more there are that are not shown.
    """
    text = Text(title, style="bold")
    for entry in entries:
        text.append(f"\n  {one_line(entry.label)}", "bold")
        text.append(f"  {entry.what}", entry.style)
        width = max((len(field) for field, _, _ in entry.steps), default=0)
        for field, before, after in entry.steps:
            text.append(f"\n    {field.ljust(width)}  ", "not bold")
            one, other = value_texts(before, after)
            text.append(one, "not bold red")
            text.append(" → ", "not bold")
            text.append(other, "not bold green")
        if entry.note:
            text.append(f"\n    {one_line(entry.note)}", "not bold yellow")
    if left_out:
        text.append(f"\n  … and {left_out} more", "not bold")
    return text


class Shown:
    """Shows itself by its `diff`: when printed, in a terminal and in a notebook."""

    def diff(self, most: int | None = None) -> Text:
        """Return what it holds as a text for people.

        Args:
            most: How many stages to show; None for all.
        """
        raise NotImplementedError

    def __str__(self) -> str:
        return self.diff().plain

    def __rich__(self) -> Text:
        return self.diff()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return self.diff()._repr_mimebundle_(
            options.get("include") or (), options.get("exclude") or ()
        )
