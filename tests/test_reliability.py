"""The table of `docs/reliability.md`: each fault is made, and what comes of it has to stand there.

`RELIABILITY_TABLE=write pytest tests/test_reliability.py` writes the table anew.
"""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from prefect_ruddr import (
    RuddrCredentials,
    RuddrError,
    Stage,
    StageUpdatesFailed,
    apply_stage_updates,
    aupdate_opportunity_stage,
    update_opportunity_stage,
)
from prefect_ruddr.api import answers
from prefect_ruddr.sandbox import Sandbox

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
ALWAYS = 100
HTML = {"status": 502, "body": "<title>Bad gateway</title>"}

FAULTS: dict[str, tuple[int, dict[str, Any]]] = {
    "429, twice": (2, {"status": 429}),
    "429, always": (ALWAYS, {"status": 429}),
    "429 that asks to wait a day": (ALWAYS, {"status": 429, "headers": {"Retry-After": "86400"}}),
    "503, once": (1, {"status": 503}),
    "503, always": (ALWAYS, {"status": 503}),
    "502 with an HTML page, once": (1, HTML),
    "the connection breaks, once": (1, {"drop": True}),
    "the connection breaks after the write": (1, {"drop": True, "carried_out": True}),
    "the connection always breaks after the write": (ALWAYS, {"drop": True, "carried_out": True}),
    "no answer in time, once": (1, {"hang": True}),
    "no answer in time, always": (ALWAYS, {"hang": True}),
    "400": (1, {"status": 400}),
    "401": (1, {"status": 401}),
    "403": (1, {"status": 403}),
    "404": (1, {"status": 404}),
    "409": (1, {"status": 409}),
    "423": (1, {"status": 423}),
    "520, which no document promises": (1, {"status": 520}),
    "200 with a page that is no JSON": (1, {"status": 200, "body": "<html>"}),
    "200, but another value is kept": (1, {"replace": {"probability": 0.3}}),
}

HEADING = """\
| fault | a single task, sync or async | a bulk run | Ruddr holds | PATCHes | waits |
|---|---|---|---|---|---:|
"""


@flow
def one(credentials: RuddrCredentials, update: dict[str, Any]) -> Stage:
    """Call the task."""
    return update_opportunity_stage(credentials, update)


@flow
async def aone(credentials: RuddrCredentials, update: dict[str, Any]) -> Stage:
    """Async version of `one`."""
    return await aupdate_opportunity_stage(credentials, update)


def single(way: str, credentials: RuddrCredentials, update: dict[str, Any]) -> str:
    """Return what the caller of one task gets."""
    try:
        if way == "async":
            stage: Stage = asyncio.run(aone(credentials, update))
        else:
            stage = one(credentials, update)
    except RuddrError as error:
        doubt = getattr(error, "may_have_been_applied", False)
        return f"`{type(error).__name__}`{', in doubt' if doubt else ''}"
    return "the stage" if stage.probability == update["probability"] else "another value"


def bulk(credentials: RuddrCredentials, update: dict[str, Any]) -> str:
    """Return the outcome in a bulk run."""
    try:
        report = apply_stage_updates(credentials, [update])
    except StageUpdatesFailed as error:
        report = error.report
    (outcome,) = report.outcomes
    return f"{outcome.outcome}{', in doubt' if outcome.written is None else ''}"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that are waited between attempts, without what chance adds; they go by fast."""
    seconds: list[float] = []

    class Waits(tuple[float, ...]):
        def __getitem__(self, place: Any) -> Any:
            seconds.append(super().__getitem__(place))
            return seconds[-1] / 1000

    monkeypatch.setattr(answers, "WAITS", Waits(answers.WAITS))
    return seconds


@pytest.mark.long
@pytest.mark.usefixtures("prefect_api", "async_flows")
@pytest.mark.parametrize("fault", FAULTS)
def test_what_comes_of_a_fault_is_what_the_page_says(
    fault: str, sandbox: Sandbox, ruddr_credentials: RuddrCredentials, waited: list[float]
) -> None:
    """Sync and async agree; what Ruddr holds, how often and when it was asked agree with both."""
    count, fields = FAULTS[fault]
    key = ruddr_credentials.model_copy(
        update={"timeout_seconds": 2.0 if "hang" in fields else 30.0}
    )
    stage_id = sandbox.stages[0]["id"]
    before = sandbox.stages[0]["probability"]
    found: list[tuple[str, str, int, str]] = []
    for way in ("sync", "async", "bulk"):
        sandbox.clear_faults()
        sandbox.edit(stage_id, probability=before)
        sandbox.clear_requests()
        waited.clear()
        sandbox.fail_next(count, method="PATCH", **fields)
        update = {"id": stage_id, "probability": 0.37}
        gets = bulk(key, update) if way == "bulk" else single(way, key, update)
        holds = "the change" if sandbox.stage(stage_id)["probability"] == 0.37 else "what it held"
        sent = sum(request.method == "PATCH" for request in sandbox.requests)
        found.append((gets, holds, sent, f"{sum(waited):g} s" if waited else "none"))
    sync, async_, run = found
    assert sync == async_
    assert run[1:] == sync[1:]
    row = f"| {fault} | {sync[0]} | {run[0]} | {sync[1]} | {sync[2]} | {sync[3]} |"
    if os.environ.get("RELIABILITY_TABLE") == "write":
        write(row)
    assert row in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_no_row_that_is_not_shown() -> None:
    """And none is missing."""
    rows = re.findall(r"^\| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == ["fault", *FAULTS]


def write(row: str) -> None:
    """Put a row of the table into its place on the page."""
    text, marker, _ = PAGE.read_text(encoding="utf-8").partition("<!-- table: faults -->\n")
    old = PAGE.read_text(encoding="utf-8").splitlines()
    rows = {line.split(" | ")[0][2:]: line for line in [*old, row] if line.startswith("| ")}
    table = "\n".join(rows[fault] for fault in FAULTS if fault in rows)
    PAGE.write_text(f"{text}{marker}\n{HEADING}{table}\n", encoding="utf-8")
