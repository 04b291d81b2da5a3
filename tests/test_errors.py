"""One error class for each thing a caller can do about it; all travel, and none grows."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import cloudpickle  # type: ignore[import-untyped]
import pytest

import prefect_ruddr
from prefect_ruddr import errors
from prefect_ruddr.api import answers
from prefect_ruddr.errors import InvalidStageUpdates, RuddrError, RuddrRequestError
from prefect_ruddr.stages.drift import DriftFound, StageDrift
from prefect_ruddr.stages.outcome import StageUpdatesFailed
from prefect_ruddr.stages.plan import StagePlan
from prefect_ruddr.texts import LONGEST_TEXT

ID = UUID("a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19")

DRAWN = re.compile(
    r"(?P<indent>[│ ]*)(?:[├└]── )?(?P<name>\w+)(?: \((?P<also>\w+)\))?"
    r" *(?P<statuses>\d{3}[\d, -]*)?(?P<note>.*)"
)

JOURNEYS: list[Any] = [
    pytest.param(lambda e: pickle.loads(pickle.dumps(e)), id="pickle"),  # noqa: S301
    pytest.param(lambda e: cloudpickle.loads(cloudpickle.dumps(e)), id="cloudpickle"),
    pytest.param(copy.copy, id="copy"),
    pytest.param(copy.deepcopy, id="deepcopy"),
]


OURS = {errors.__name__, StageUpdatesFailed.__module__, DriftFound.__module__}
"""Where the errors are defined."""


def tree(
    root: type[RuddrError] = RuddrError, depth: int = 0
) -> Iterator[tuple[int, type[RuddrError]]]:
    """Walk over the classes that this package defines, each with its depth."""
    yield depth, root
    for child in root.__subclasses__():
        if child.__module__ in OURS:
            yield from tree(child, depth + 1)


KINDS = [kind for _, kind in tree()]
REQUEST_KINDS = [kind for kind in KINDS if issubclass(kind, RuddrRequestError)]


def drawing() -> list[re.Match[str]]:
    """Return the lines of the tree in the module's docstring."""
    lines = (errors.__doc__ or "").split("```")[1].strip().splitlines()
    return [match for match in map(DRAWN.fullmatch, lines) if match]


def example(kind: type[RuddrError]) -> RuddrError:
    """Return an error of the class with each of its attributes set."""
    if issubclass(kind, RuddrRequestError):
        return kind(
            "Nothing is there.",
            status=499,
            errors=["name: too long", "isActive: no boolean"],
            stage_id=ID,
            attempts=3,
            retry_after=2.5,
            may_have_been_applied=True,
        )
    arguments: dict[str, tuple[Any, ...]] = {
        "InvalidStageUpdates": (["name = '': too short", "id: missing"],),
        "HistoryRefused": (["no rows", "stale extract?"],),
        "StageUpdatesFailed": ("2 of 3 failed.", {"a report": "of any kind"}),
        "RunNotRecorded": ("2 of 3 failed.", {"a report": "of any kind"}),
    }
    if kind is DriftFound:
        return kind(StageDrift(source="stages.csv", plan=StagePlan(workspace=None, changes=())))
    make: Callable[..., RuddrError] = kind
    return make(*arguments.get(kind.__name__, ("Wrong.",)))


def test_the_drawing_is_the_tree() -> None:
    """The docstring a reader meets first names every class, in its place."""
    drawn = [(len(line["indent"]) // 4 + bool("──" in line[0]), line["name"]) for line in drawing()]
    assert drawn[0] == (0, "RuddrError")
    assert {name for _, name in drawn} <= set(prefect_ruddr.__all__)
    assert sorted(drawn) == sorted((depth, kind.__name__) for depth, kind in tree())


def test_the_drawing_names_the_right_parents() -> None:
    """Each class hangs under the one it is drawn under, and is what it is said to be besides."""
    path: list[str] = []
    for line in drawing():
        depth = len(line["indent"]) // 4 + bool("──" in line[0])
        path[depth:] = [line["name"]]
        kind = getattr(prefect_ruddr, line["name"])
        named = [*path[-2:-1], *([line["also"]] if line["also"] else [])]
        assert [base.__name__ for base in kind.__bases__] == (named or ["Exception"])


def drawn_statuses() -> Iterator[tuple[int, re.Match[str]]]:
    """Return each status in the drawing, and its line."""
    for line in drawing():
        for part in filter(None, (line["statuses"] or "").replace(" ", "").split(",")):
            first, _, last = part.partition("-")
            for status in range(int(first), int(last or first) + 1):
                yield status, line


@pytest.mark.parametrize(
    ("status", "line"), [pytest.param(*drawn, id=str(drawn[0])) for drawn in drawn_statuses()]
)
def test_each_documented_status_raises_the_class_drawn_for_it(
    status: int, line: re.Match[str]
) -> None:
    """The drawing's statuses, and its notes on what to do, are what happens."""
    content = json.dumps({"status": status, "message": "So."}).encode()
    error = answers.error_of(status, {}, content, is_write=False)
    assert error is not None
    assert type(error).__name__ == line["name"]
    assert error.ends_run == ("ends the run" in line["note"])
    assert error.retryable == ("worth another try" in line["note"])


def test_the_drawing_has_every_documented_status() -> None:
    """None of the contract's errors is left out."""
    assert {status for status, _ in drawn_statuses()} == {
        400, 401, 403, 404, 405, 409, 423, 429, 500, 502, 503, 504,
    }  # fmt: skip


@pytest.mark.parametrize("journey", JOURNEYS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_error_travels_whole(
    kind: type[RuddrError], journey: Callable[[RuddrError], RuddrError]
) -> None:
    """Class, text and every attribute survive the way from a worker to the flow."""
    error = example(kind)
    arrived = journey(error)
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert arrived.args == error.args
    assert vars(arrived) == vars(error)


@pytest.mark.parametrize("kind", REQUEST_KINDS, ids=lambda kind: kind.__name__)
def test_an_error_of_a_request_is_one_line_of_bounded_length(
    kind: type[RuddrRequestError],
) -> None:
    """Whatever the server says: a log line stays a line, and a state message a message."""
    hostile = "<p>\r\n\u2028\x85\x0b" + "x\n" * 10**4
    error = kind(hostile, errors=[hostile] * 1000)
    assert len(error.message) == LONGEST_TEXT
    assert len(error.errors) == errors.MOST_TEXTS
    assert len(str(error).splitlines()) == 1
    assert len(pickle.dumps(error)) < 15_000


@pytest.mark.parametrize(
    "text", ["a\x00b", "a\x1b[31mb", "a\ud800b", "a\u202eb"], ids=["NUL", "escape", "half", "rtl"]
)
def test_an_error_keeps_only_what_can_be_shown_and_stored(text: str) -> None:
    """Databases refuse a NUL, encoders half a character; terminals obey an escape sequence."""
    error = errors.ServerError(text, errors=[text])
    assert str(error).isprintable()
    assert str(error).encode()
    assert "a" in error.message
    assert "b" in error.errors[0]


def test_an_error_of_a_request_says_all_that_is_known() -> None:
    """Stage, status, message, failed validations, attempts, doubt: one line to act on."""
    assert str(example(errors.ServerError)) == (
        f"stage {ID}: HTTP 499: Nothing is there. (name: too long; isActive: no boolean)"
        " [sent 3 times] The change may have been carried out: read the stage to know. The"
        " server asks to wait 2 s."
    )


@pytest.mark.parametrize(
    "kind", [kind for kind in REQUEST_KINDS if kind.ends_run], ids=lambda kind: kind.__name__
)
def test_an_error_that_ends_the_run_says_what_to_do(kind: type[RuddrRequestError]) -> None:
    """Nothing else will work before somebody acts on it."""
    assert str(kind("No.", status=423)) == f"HTTP 423: No. {kind.advice}"
    assert kind.advice.endswith(".")


def test_saying_what_an_error_is_about_leaves_the_original_alone() -> None:
    """The copy knows the stage and the attempts."""
    error = errors.TooManyRequests("Slow down.", status=429, retry_after=3)
    about = error.about(stage_id=ID, attempts=5)
    assert (about.stage_id, about.attempts, about.retry_after) == (ID, 5, 3)
    assert (error.stage_id, error.attempts) == (None, 1)


def test_invalid_updates_are_a_value_error() -> None:
    """Code that validates input in Python's way catches them too."""
    assert issubclass(InvalidStageUpdates, ValueError)
    assert str(InvalidStageUpdates(["id: missing"])) == "Invalid stage update: id: missing"


def test_invalid_updates_name_the_first_errors_and_count_the_rest() -> None:
    """A file of a million wrong rows ends in one readable line; `errors` has them all."""
    error = InvalidStageUpdates([f"row {row}: id: missing" for row in range(1, 1001)])
    assert str(error).startswith("Invalid stage updates, 1000 errors: row 1: id: missing; row")
    assert str(error).endswith("; row 20: id: missing; and 980 more")
    assert len(error.errors) == 1000
