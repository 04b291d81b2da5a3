"""The key appears on the wire and nowhere else, however a run ends."""

from __future__ import annotations

import copyreg
import html
import json
import os
import pickle
import subprocess
import sys
import traceback
from base64 import b64encode, encodebytes
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx
import pytest
import tblib.pickling_support  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from prefect.settings import PREFECT_API_URL
from pydantic import SecretStr, ValidationError

import prefect_ruddr
from prefect_ruddr import InvalidCredentials, RuddrCredentials, RuddrRequestError, StageUpdate
from prefect_ruddr.api.address import DEFAULT_BASE_URL
from prefect_ruddr.api.connection import Connection
from prefect_ruddr.sandbox import Sandbox
from prefect_ruddr.texts import one_line
from runs.records import events, eventually, flow_runs_named, recorded_steps

pytestmark = pytest.mark.slow

KEY = "rk_live_Zq8vN3xK7pW2mT5c"

FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "refused": {"status": 400},
    "forbidden": {"status": 403},
    "too many": {"status": 429},
    "server": {"status": 500, "body": "<html><title>Oops</title></html>"},
    "undocumented": {"status": 520, "body": "origin error"},
    "redirected": {"status": 302, "body": "", "headers": {"Location": "https://example.com/"}},
    "malformed": {"omit": ["name"]},
    "not JSON": {"body": "<html></html>"},
    "dropped": {"drop": True},
    "cut": {"cut": 10},
    "late": {"delay": 2},
    "dripping": {"drip": 0.1},
    "echoed": {"status": 400, "body": {"message": "No: {authorization}"}, "echo": True},
    "echoed by a proxy": {"status": 502, "body": "<title>{authorization}</title>", "echo": True},
}


def forms(key: str) -> dict[str, bytes]:
    """Return the ways in which a key could be written: as it is, as base64, in hexadecimal."""
    return {
        "plain": key.encode(),
        "hexadecimal": key.encode().hex().encode(),
        **{
            # The middle of it, which is the same whatever follows.
            f"base64 after {n} bytes": b64encode(b"x" * n + key.encode())[4:-4]
            for n in range(3)
        },
    }


def require_absent(content: bytes, where: str) -> None:
    """Fail where the key is in the content in any form, across the lines of base64 too."""
    content = content.replace(b"\\n", b"").replace(b"\n", b"")
    for form, text in forms(KEY).items():
        assert text not in content, f"{where} holds the key, {form}"


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Walk over an error and all that led to it."""
    while error is not None:
        yield error
        yield from chain(error.__cause__)
        error = error.__context__


@pytest.fixture(params=["by themselves", "beside Dask"])
def _errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Dask has every copy and pickle of an error keep its traceback and what led to it."""
    before = copyreg.dispatch_table.copy()
    if request.param == "beside Dask":
        tblib.pickling_support.install()
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


def test_the_search_finds_a_key_in_every_form() -> None:
    """What is looked for is what would be there."""
    for hidden in (
        f"Bearer {KEY}".encode(),
        b64encode(f"Bearer {KEY}".encode()),
        b64encode(f"ab{KEY}cd".encode()),
        b64encode(f"a{KEY}".encode()),
        encodebytes(b"x" * 50 + KEY.encode()),
        json.dumps(encodebytes(b"x" * 50 + KEY.encode()).decode()).encode(),
        KEY.encode().hex().encode(),
    ):
        with pytest.raises(AssertionError, match="holds the key"):
            require_absent(b"before " + hidden + b" after", "this")


@pytest.mark.usefixtures("short_waits", "_errors")
@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "none"])
def test_no_error_holds_the_key(call: Callable[..., Any], fault: str) -> None:
    """Nor what led to it, nor its traceback with the variables of every frame, nor its pickle."""
    with Sandbox(api_key=KEY, rate=None) as sandbox:
        sandbox.fail_next(5, **FAULTS[fault])
        credentials = RuddrCredentials(
            api_key=SecretStr(KEY), base_url=sandbox.base_url, timeout_seconds=0.1
        )
        update = StageUpdate(id=UUID(sandbox.stages[0]["id"]), probability=0.5)
        with pytest.raises(RuddrRequestError) as caught:
            call(credentials, "update_stage", update)
    for error in chain(caught.value):
        # Theirs hold the request, and with it the key.
        assert type(error).__module__.partition(".")[0] not in {"httpx", "httpcore", "h11"}
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        require_absent("".join(shown.format()).encode(), f"the traceback of {error!r}")
        require_absent(repr(vars(error)).encode(), f"the attributes of {error!r}")
        require_absent(str(error).encode(), f"the text of {error!r}")
    require_absent(pickle.dumps(caught.value), "the pickle")


ECHOES: dict[str, dict[str, Any]] = {
    "message": {"status": 400, "body": {"message": "No: {authorization}", "errors": []}},
    "errors": {"status": 400, "body": {"message": "No.", "errors": ["key {authorization}!"]}},
    "title": {"status": 502, "body": "<html><title>Bad {authorization}</title></html>"},
    "HTML": {"status": 500, "body": "<p>{authorization}"},
    "another form": {"status": 403, "body": ["{authorization}"]},
    "cut short": {"status": 500, "body": "x" * 180 + "{authorization}"},
    "id": {"body": {"id": "{authorization}", "name": "x"}},
    "status of a stage": {"replace": {"statusId": "{authorization}"}},
    "headers": {
        "status": 429,
        "headers": {"Retry-After": "{authorization}", "X-Was": "{authorization}"},
    },
    "packing": {"headers": {"Content-Encoding": "{authorization}"}},
    "redirection": {"status": 302, "headers": {"Location": "/{authorization}"}},
}

NOT_TOLD = {"id", "headers", "redirection"}
"""Where an error tells nothing of what the server said."""


@pytest.mark.usefixtures("short_waits", "_errors")
@pytest.mark.parametrize("where", ECHOES)
def test_a_key_that_a_server_echoes_is_masked(
    call: Callable[..., Any], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the error, in what led to it, in each frame of ours, in its pickle, and in the log."""
    with Sandbox(api_key=KEY, rate=None) as sandbox:
        sandbox.fail_next(5, **ECHOES[where], echo=True)
        credentials = RuddrCredentials(api_key=SecretStr(KEY), base_url=sandbox.base_url)
        update = StageUpdate(id=UUID(sandbox.stages[0]["id"]), probability=0.5)
        with caplog.at_level("INFO"), pytest.raises(RuddrRequestError) as caught:
            call(credentials, "update_stage", update)
    require_hidden(caught.value)
    require_absent(pickle.dumps(caught.value), "the pickle")
    require_absent(caplog.text.encode(), "the log")
    assert ("[API key]" in str(caught.value)) == (where not in NOT_TOLD)


def frames(error: BaseException) -> Iterator[FrameType]:
    """Walk over the frames of ours in the tracebacks of an error and of all that led to it."""
    ours = str(Path(prefect_ruddr.__file__).parent)
    for part in chain(error):
        for frame, _ in traceback.walk_tb(part.__traceback__):
            if frame.f_code.co_filename.startswith(ours):
                yield frame


def require_hidden(error: BaseException) -> None:
    """Fail where an error, what led to it or a variable in a frame of ours shows the key."""
    for part in chain(error):
        require_absent(f"{part!r} {part} {vars(part)}".encode(), f"{part!r}")
    found = list(frames(error))
    assert found
    for frame in found:
        require_absent(repr(frame.f_locals).encode(), f"{frame.f_code.co_qualname}")


BAD_KEY = f"{KEY} "

REFUSED: dict[str, Callable[[], object]] = {
    "secret": lambda: RuddrCredentials(api_key=SecretStr(BAD_KEY)),
    "text": lambda: RuddrCredentials.model_validate({"api_key": BAD_KEY}),
    "bytes": lambda: RuddrCredentials.model_validate({"api_key": BAD_KEY.encode()}),
    "list": lambda: RuddrCredentials.model_validate({"api_key": [KEY]}),
    "misspelt": lambda: RuddrCredentials.model_validate({"api_kye": KEY}),
    "unknown": lambda: RuddrCredentials(api_key=SecretStr(KEY), base_URL="x"),
    "address": lambda: RuddrCredentials(api_key=SecretStr(KEY), base_url=KEY),
    "swapped": lambda: RuddrCredentials(api_key=SecretStr(DEFAULT_BASE_URL), base_url=KEY),
    "part of an address": lambda: RuddrCredentials(
        api_key=SecretStr(KEY), base_url=f"https://{KEY}/workspace"
    ),
    "beside": lambda: RuddrCredentials.model_validate({"api_key": KEY, "base_url": "http://x"}),
    "beside a number": lambda: RuddrCredentials.model_validate({"api_key": KEY, "burst": 0}),
    "environment": RuddrCredentials.from_env,
}


@pytest.mark.parametrize("how", REFUSED)
def test_a_key_that_is_refused_is_in_no_frame_of_ours(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tools that report errors show the variables of every frame."""
    monkeypatch.setenv("RUDDR_API_KEY", BAD_KEY)
    with pytest.raises((InvalidCredentials, ValidationError)) as caught:
        REFUSED[how]()
    require_hidden(caught.value)


def test_the_search_of_frames_finds_a_key() -> None:
    """A frame of ours that has the key in a variable is not passed over."""
    with pytest.raises(TypeError) as caught:
        one_line(KEY.encode())  # type: ignore[arg-type]
    caught.value.args = ()
    with pytest.raises(AssertionError, match="one_line holds the key"):
        require_hidden(caught.value)


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    st.sampled_from([str, lambda key: quote(key, safe=""), html.escape]),
    st.integers(min_value=8),
)
def test_a_key_is_masked_however_it_is_written(
    key: str, written: Callable[[str], str], length: int
) -> None:
    """From its first eight characters on; what is around it stays."""
    connection = Connection(DEFAULT_BASE_URL, SecretStr(key))
    shown = written(key)[:length]
    masked = connection.without_key(f"before\n{shown}\nafter")
    assert shown not in masked.split("\n", 1)[1]
    assert masked.startswith("before\n[API key]")
    assert masked.endswith("\nafter")


def test_what_is_no_key_is_not_masked() -> None:
    """A text without it is as it was; a key of a few characters would be found everywhere."""
    connection = Connection(DEFAULT_BASE_URL, SecretStr(KEY))
    assert connection.without_key(f"rk_live no key, {KEY[1:]}") == f"rk_live no key, {KEY[1:]}"
    assert Connection(DEFAULT_BASE_URL, SecretStr("k")).without_key("a key") == "a key"


@pytest.fixture(scope="module")
def traces(prefect_api: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All that runs of every kind leave behind, by where it was found."""
    folder = tmp_path_factory.mktemp("traces")
    (folder / "errors").mkdir()
    since = datetime.now(UTC)
    with Sandbox(api_key=KEY, rate=None, stages=len(FAULTS)) as sandbox:
        stage_ids = [stage["id"] for stage in sandbox.stages]
        for stage_id, fault in zip(stage_ids, FAULTS.values(), strict=True):
            if fault:
                sandbox.fail_next(100, path=stage_id, **fault)
        program = Path(__file__).with_name("runs_to_search.py")
        ended = subprocess.run(
            [sys.executable, program, sandbox.base_url, folder / "errors", *stage_ids],
            env=os.environ
            | {
                "PREFECT_API_URL": PREFECT_API_URL.value(),
                "PREFECT_DEBUG_MODE": "true",
                "PREFECT_HOME": str(folder / "home"),
                "PREFECT_LOGGING_LEVEL": "DEBUG",
                "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
                "RUDDR_API_KEY": KEY,
            },
            capture_output=True,
            check=False,
            timeout=240,
        )
        sent = json.dumps([(r.path, dict(r.headers)) for r in sandbox.requests]).encode()
    assert b"all runs have ended" in ended.stdout, ended.stderr.decode()[-3000:]
    results = (folder / "home" / "storage").iterdir()
    # Prefect's server stores events and steps a moment later; those of the last run come last.
    (last,) = flow_runs_named("the last run")
    eventually(lambda: events(UUID(last["id"]), "prefect.flow-run.Failed"), bool)
    eventually(lambda: recorded_steps(UUID(last["id"])), bool)
    return {
        "standard output": ended.stdout,
        "standard error": ended.stderr,
        "what was sent besides the Authorization header": sent,
        "pickled errors": b"".join(p.read_bytes() for p in (folder / "errors").iterdir()),
        "results kept": b"".join(path.read_bytes() for path in results),
        "the database of the Prefect API": b"".join(
            path.read_bytes() for path in sorted(prefect_api.parent.glob(f"{prefect_api.name}*"))
        ),
        "events": recorded_events(since),
        **{of: recorded(of, since) for of in ("flow_runs", "task_runs", "logs", "artifacts")},
    }


def recorded(of: str, since: datetime) -> bytes:
    """Return what the Prefect API tells about the runs since then, page by page."""
    later = {"after_": since.isoformat()}
    wanted = {"flow_runs": {"start_time": later}, "logs": {"timestamp": later}}
    pages: list[bytes] = []
    more = True
    while more:
        asked = {**wanted, "offset": 200 * len(pages)}
        response = httpx.post(f"{PREFECT_API_URL.value()}/{of}/filter", json=asked, timeout=60)
        response.raise_for_status()
        pages.append(response.content)
        more = bool(response.json())
    return b"".join(pages)


def recorded_events(since: datetime) -> bytes:
    """Return the events since then that the Prefect API tells of, page by page."""
    asked = {"filter": {"occurred": {"since": since.isoformat()}}}
    response = httpx.post(f"{PREFECT_API_URL.value()}/events/filter", json=asked, timeout=60)
    pages = [response.raise_for_status().content]
    while following := response.json()["next_page"]:
        response = httpx.get(following, timeout=60)
        pages.append(response.raise_for_status().content)
    return b"".join(pages)


WHERE = [
    ("standard output", b"send_request_headers.complete"),
    ("standard error", b"Traceback"),
    ("what was sent besides the Authorization header", b"[redacted]"),
    ("pickled errors", b"UnexpectedResponse"),
    ("results kept", b"storage_key"),
    ("the database of the Prefect API", b"Attempt 1 of 5 failed"),
    ("flow_runs", b"127.0.0.1"),
    ("task_runs", b"update stage "),
    ("logs", b"HTTP 403"),
    ("artifacts", b"probability"),
    ("events", b"prefect.flow-run.Failed"),
]


@pytest.mark.parametrize(("where", "control"), WHERE, ids=[where for where, _ in WHERE])
def test_no_trace_of_a_run_holds_the_key(
    traces: dict[str, bytes], where: str, control: bytes
) -> None:
    """Printed, logged at DEBUG, kept or recorded; `control` shows that it was the right place."""
    assert control in traces[where]
    require_absent(traces[where], where)
