"""Texts from elsewhere are made harmless before anybody sees them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr.texts import listed, markdown, one_line, shown


@given(st.text(), st.integers(2, 50))
def test_a_line_is_one_line_of_bounded_length(text: str, most: int) -> None:
    """A log, a terminal and a database take it: no break, no escape, no turn of direction."""
    line = one_line(text, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1
    assert line.replace("\u200c", "").replace("\u200d", "").isprintable()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("Won", "Won", id="plain"),
        pytest.param("Überprüfung 交渉中 🤝", "Überprüfung 交渉中 🤝", id="any script"),
        pytest.param("👩\u200d💻", "👩\u200d💻", id="a joiner that spelling needs"),
        pytest.param("Won\r\nERROR all gone", "Won ERROR all gone", id="line break"),
        pytest.param("\x1b[2J\x1b]0;x\x07", "\ufffd[2J\ufffd]0;x\ufffd", id="escapes"),
        pytest.param("\u202egnp.exe", "\ufffdgnp.exe", id="turned direction"),
        pytest.param("a\u2028b\x85c\x00", "a b c\ufffd", id="other breaks, and NUL"),
        pytest.param("x" * 600, "x" * 499 + "…", id="long"),
        pytest.param(" " * 10**6 + "x", "…", id="a million blanks"),
    ],
)
def test_what_is_left_of_a_text(text: str, line: str) -> None:
    """As much as can be shown."""
    assert one_line(text) == line


@pytest.mark.parametrize(
    "text", ["<script>x</script>", "[x](y)", "![x](y)", "a|b", "`x`", "**x**", "&lt;", "\\|"]
)
def test_markdown_shows_a_text_and_does_nothing_else(text: str) -> None:
    """Every sign that means something is escaped, and a line break is a space."""
    escaped = markdown(f"{text}\nend")
    assert "\n" not in escaped
    plain = escaped.replace("\\\\", "").split("\\")
    assert not any(sign in plain[0] for sign in "<>[|`*&")
    assert all(part[:1] in "<>[]|`*&_~" for part in plain[1:])


class Hostile:
    """A value whose text raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a\nb", r"'a\nb'", id="break"),
        pytest.param("x" * 100, "'" + "x" * 59 + "… (100 characters)", id="long"),
        pytest.param(10**5000, "(int that cannot be shown)", id="thousands of digits"),
        pytest.param(Hostile(), "(Hostile that cannot be shown)", id="no text"),
        pytest.param(0.5, "0.5", id="number"),
    ],
)
def test_any_value_can_be_shown(value: Any, text: str) -> None:
    """In an error, which must not end in another one."""
    assert shown(value) == text


def test_a_list_names_the_first_and_counts_the_others() -> None:
    """As many as a person reads."""
    assert listed("abc", 3) == "a, b, c"
    assert listed("abcde", 3) == "a, b, c and 2 more"
