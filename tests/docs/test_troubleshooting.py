"""docs/troubleshooting.md: every class is there, and each message is what the code says."""

from __future__ import annotations

import ast
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

import prefect_ruddr
from prefect_ruddr import RuddrCredentials, RuddrError, RuddrRequestError
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from prefect_ruddr.sources.export import export_stages
from prefect_ruddr.sources.files import read_source
from prefect_ruddr.stages.update import parse_stage_update

from .pages import ROOT, Page

ERRORS = {
    name: value
    for name, value in ((name, getattr(prefect_ruddr, name)) for name in prefect_ruddr.__all__)
    if isinstance(value, type) and issubclass(value, RuddrError)
}


class Row(NamedTuple):
    """A row of the page.

    Attributes:
        messages: What it says messages look like; `…` stands for anything.
        classes: The names of classes that it says are raised.
        again: Whether it says that the same may succeed later.
        section: What it stands under.
    """

    messages: tuple[str, ...]
    classes: tuple[str, ...]
    again: str
    section: str

    @property
    def id(self) -> str:
        """What it is called here."""
        return self.messages[0]


def rows() -> Iterator[Row]:
    """Read the tables."""
    text = Page("docs/troubleshooting.md").text
    for section in text.split("\n## ")[1:]:
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if line.startswith("| ") and not cells[0].startswith("message"):
                messages, _, classes = cells[0].partition("<br>")
                yield Row(
                    tuple(re.findall(r"`([^`]+)`", messages)),
                    tuple(re.findall(r"`(\w+)`", classes)),
                    cells[-1],
                    section.splitlines()[0],
                )


ROWS = list(rows())
NOT_OURS = {"missing a required argument", "PydanticUserError: … is not fully defined"}


def test_every_class_of_error_is_on_the_page() -> None:
    """Those that are raised have a row; those above them are named beside the tables."""
    text = Page("docs/troubleshooting.md").text
    assert [name for name in ERRORS if f"`{name}`" not in text] == []
    leaves = {name for name, kind in ERRORS.items() if not kind.__subclasses__()}
    assert leaves - {name for row in ROWS for name in row.classes} == set()
    assert {name for row in ROWS for name in row.classes} <= ERRORS.keys()


class Asked(NamedTuple):
    """What a trigger may use."""

    sandbox: Sandbox
    credentials: RuddrCredentials
    folder: Path


def answered(**fault: Any) -> Callable[[Asked], object]:
    """Return a read to which the sandbox answers with a fault, however often it is asked."""

    def ask(asked: Asked) -> object:
        asked.sandbox.fail_next(100, **fault)
        return asked.credentials.get_client().get_stage(UUID(EXAMPLE_STAGE_ID))

    return ask


def with_credentials(**fields: Any) -> Callable[[Asked], object]:
    """Return a read with other credentials."""

    def ask(asked: Asked) -> object:
        credentials = RuddrCredentials.model_validate(
            {"api_key": asked.sandbox.api_key, "base_url": asked.sandbox.base_url, **fields}
        )
        return credentials.verify()

    return ask


def nowhere(asked: Asked) -> object:
    """Ask a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return with_credentials(base_url=f"http://127.0.0.1:{port}/api/workspace")(asked)


def no_certificates(asked: Asked) -> object:
    """Let a variable name no file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", "/nowhere.pem")
        return with_credentials(base_url="https://nowhere.invalid/api/workspace")(asked)


def without_key(asked: Asked) -> object:
    """Ask the environment, which has none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RUDDR_API_KEY", raising=False)
        return RuddrCredentials.from_env()


def no_answer(asked: Asked) -> object:
    """Wait for an answer that does not come."""
    asked.sandbox.fail_next(100, hang=True)
    return with_credentials(timeout_seconds=0.1)(asked)


TRIGGERS: Mapping[str, Callable[[Asked], object]] = {
    "Invalid stage update: …": lambda _: parse_stage_update({"id": EXAMPLE_STAGE_ID, "name": ""}),
    "no credentials: set RUDDR_API_KEY, or give a Ruddr Credentials block": without_key,
    "api_key has white space, a line break or characters that are not ASCII: paste the key"
    " alone": with_credentials(api_key="a key"),
    "base_url would send the key unencrypted to …": with_credentials(base_url="http://ruddr.test"),
    "there is no field …": with_credentials(bursts=3),
    "…: a folder, not a file": lambda asked: read_source(asked.folder, format="csv"),
    "…: no such file": lambda asked: read_source(asked.folder / "stages.csv"),
    "…: no such folder": lambda asked: export_stages([], asked.folder / "none" / "stages.csv"),
    **{
        f"HTTP {status}: …": answered(status=status)
        for status in (400, 401, 403, 404, 405, 409, 423, 429, 503)
    },
    "no document promises this answer: …": answered(status=418, body="<title>Teapot</title>"),
    "the body is not what the API promises: …": answered(omit=["name"]),
    "… Try again after … UTC.": answered(status=429, headers={"Retry-After": "86400"}),
    "cannot connect to …": nowhere,
    "… does not name certificates that can be read: …": no_certificates,
    "no whole answer within timeout_seconds": no_answer,
    "the connection broke before the answer was whole: …": answered(drop=True),
}


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("row", [row for row in ROWS if row.id in TRIGGERS], ids=lambda row: row.id)
def test_a_message_comes_with_its_class(
    row: Row, sandbox: Sandbox, ruddr_credentials: RuddrCredentials, tmp_path: Path
) -> None:
    """Made for real: the class, the words, and whether it is worth another try."""
    with pytest.raises(RuddrError, match=as_pattern(row.id)) as raised:
        TRIGGERS[row.id](Asked(sandbox, ruddr_credentials, tmp_path))
    assert type(raised.value).__name__ in row.classes
    if isinstance(raised.value, RuddrRequestError):
        assert {True: "yes", False: "no"}[raised.value.retryable] == row.again


def test_every_message_of_a_request_is_made_for_real() -> None:
    """And no trigger is for a row that is gone."""
    of_requests = {row.id for row in ROWS if row.section in {"Ruddr's answer", "No answer"}}
    assert of_requests <= TRIGGERS.keys() <= {row.id for row in ROWS}


@cache
def said_by_the_code() -> tuple[str, ...]:
    """Return the texts in the code, with `…` where a value goes."""
    found = []
    for path in (ROOT / "prefect_flows" / "prefect_ruddr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    str(part.value) if isinstance(part, ast.Constant) else "…"
                    for part in node.values
                ]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(re.sub(r"%[sd]", "…", node.value))
    return tuple(found)


def as_pattern(message: str) -> str:
    """Return a pattern of a message in which `…` stands for anything."""
    return ".*".join(re.escape(part) for part in message.split("…"))


MESSAGES = {message for row in ROWS for message in row.messages}


@pytest.mark.parametrize("message", sorted(MESSAGES - TRIGGERS.keys() - NOT_OURS))
def test_every_other_message_is_one_that_the_code_has(message: str) -> None:
    """Word by word, with `…` in the places where the code puts a value."""
    pattern = re.compile(as_pattern(message))
    assert any(pattern.search(said) for said in said_by_the_code())
