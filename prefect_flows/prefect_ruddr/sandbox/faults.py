"""Trouble on request: what a sandbox does instead of answering as it should."""

from __future__ import annotations

import json
import threading
from http.client import responses
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator
from starlette.responses import Response

from prefect_ruddr.sandbox.answers import error_response, json_response

_ECHOED = "{authorization}"

_Seconds = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


class Fault(BaseModel):
    """What goes wrong with a request. Fields that are not set leave things as they are.

    With `status` or `body` the answer is this one and the request is not carried out, as
    when something in front of Ruddr answers. Without them the request is carried out and
    its real answer is what is delayed, dripped, cut or damaged.

    Attributes:
        status: The status of the answer, 200-599. Alone, it comes with the error body that
            Ruddr documents.
        body: The body of the answer: an object or a list goes out as JSON, a text as HTML
            (with `Content-Type` in `headers` as what that says), bytes as they are.
        headers: Further headers of the answer, such as `Retry-After`.
        carried_out: Carry the request out first, whatever happens to its answer then.
        delay: Seconds before the answer. Anything carried out is carried out before them.
        drip: Seconds before each single byte of the body.
        drop: Close the connection instead of answering. Nothing is carried out unless
            `carried_out` says so.
        cut: Close the connection after this many bytes of the body.
        hang: Never answer; as with `drop`, nothing is carried out unless told to.
        omit: Fields to leave out of the JSON answer.
        replace: Fields to set in the JSON answer, whatever their type should be.
        raw: Bytes that go over the wire as they are instead of an answer, with `drip` seconds
            before each; then the connection is closed.
        endless: Bytes that go over the wire after `raw` again and again, with `drip` seconds
            before each time, until the client goes away.
        echo: Put the value of the request's `Authorization` header in place of
            `{authorization}` in `body` and `headers`.
        method: Only for requests of this method.
        path: Only for requests whose path contains this text, for example a stage's id.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int | None = Field(default=None, ge=200, le=599)
    body: str | bytes | dict[str, JsonValue] | list[JsonValue] | None = None
    headers: dict[str, str] = {}
    carried_out: bool = False
    delay: _Seconds = 0.0
    drip: _Seconds = 0.0
    drop: bool = False
    cut: int | None = Field(default=None, ge=0)
    hang: bool = False
    omit: tuple[str, ...] = ()
    replace: dict[str, JsonValue] = {}
    raw: bytes | None = None
    endless: bytes | None = Field(default=None, min_length=1)
    echo: bool = False
    method: str | None = None
    path: str | None = None

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not (name + value).isascii() or not (name + value).isprintable():
                raise ValueError(f"header {name!r} can only hold printable ASCII")
            if name.lower() in {"content-length", "transfer-encoding"}:
                raise ValueError(f"header {name!r} is set by the server; see `cut`")
        return headers

    @property
    def carries_out(self) -> bool:
        """Whether the request takes effect."""
        instead = self._has_own_answer or self.goes_out_raw or self.drop or self.hang
        return self.carried_out or not instead

    @property
    def goes_out_raw(self) -> bool:
        """Whether bytes go over the wire that no server would make an answer of."""
        return self.raw is not None or self.endless is not None

    def concerns(self, method: str, path: str) -> bool:
        """Tell whether this is a request the fault is meant for."""
        return (self.method is None or self.method.upper() == method) and (
            self.path is None or self.path in path
        )

    def answer(self, real: Response | None, authorization: str = "") -> Response:
        """Return what is answered, given the real answer of a request carried out.

        Args:
            real: That answer, or None.
            authorization: What the request said in its `Authorization` header, for `echo`.
        """
        response = self._own_answer() if real is None or self._has_own_answer else real
        if self.omit or self.replace:
            content = {**json.loads(bytes(response.body)), **self.replace}
            for name in self.omit:
                content.pop(name, None)
            response = json_response(content, response.status_code)
        for name, value in self.headers.items():
            response.headers[name] = value.replace(_ECHOED, authorization) if self.echo else value
        if self.echo:
            body = bytes(response.body).replace(_ECHOED.encode(), authorization.encode("latin-1"))
            response.body = body
            response.headers["content-length"] = str(len(body))
        return response

    @property
    def _has_own_answer(self) -> bool:
        return self.status is not None or self.body is not None

    def _own_answer(self) -> Response:
        status = self.status or 200
        if status in {204, 304}:
            return Response(status_code=status)
        if self.body is None and status >= 400:
            return error_response(status, f"{responses.get(status, 'Error')}, as asked for.")
        if isinstance(self.body, str | bytes | None):
            text = isinstance(self.body, str)
            return Response(self.body, status, media_type="text/html" if text else None)
        return json_response(self.body, status)


class Faults:
    """The faults that wait for their requests; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def add(self, fault: Fault, count: int) -> None:
        """Let the next `count` requests that the fault concerns run into it."""
        with self._lock:
            self._waiting += [fault] * count

    def take(self, method: str, path: str) -> Fault | None:
        """Return the fault for this request, the one added first, and forget it."""
        if not self._waiting:
            return None
        with self._lock:
            for index, fault in enumerate(self._waiting):
                if fault.concerns(method, path):
                    return self._waiting.pop(index)
        return None

    def clear(self) -> None:
        """Forget all faults that are still waiting."""
        with self._lock:
            self._waiting.clear()


def fault_from_json(text: str | bytes) -> Fault:
    """Return the fault written in a `Sandbox-Fault` header.

    Raises:
        pydantic.ValidationError: It is not JSON, or not a fault.
    """
    return Fault.model_validate_json(text)


def faults_from_json(text: str | bytes) -> tuple[Fault, int]:
    """Return the fault and the `count` beside it, 1 when left out.

    Raises:
        pydantic.ValidationError: It is not JSON, or not a fault.
    """
    counted = _CountedFault.model_validate_json(text)
    fields: dict[str, Any] = counted.model_dump(exclude={"count"}, exclude_unset=True)
    return Fault(**fields), counted.count


class _CountedFault(Fault):
    count: int = Field(default=1, ge=1, le=1_000_000)
