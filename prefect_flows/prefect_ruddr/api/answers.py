"""What an answer of Ruddr means, and how long to wait before asking again. Pure: no I/O."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from prefect_ruddr import errors

ATTEMPTS = 5
"""How often a request is sent at most; the vendor suggests five."""

WAITS = (1.0, 2.0, 4.0, 8.0)
"""Seconds before each further attempt, as the vendor suggests after a 429."""

JITTER = 0.25
"""The largest share of a wait that chance adds to it, so that processes spread out."""

LONGEST_WAIT = 60.0
"""Seconds; an answer that asks for a longer wait than this fails at once."""

_DOCUMENTED: dict[int, type[errors.ErrorResponse]] = {
    400: errors.BadRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.StageNotFound,
    405: errors.MethodNotAllowed,
    409: errors.StageConflict,
    423: errors.WorkspaceLocked,
    429: errors.TooManyRequests,
    500: errors.ServerError,
    502: errors.ServerError,
    503: errors.ServerError,
    504: errors.ServerError,
}

# These mean the same whoever answers. The others are Ruddr's word only in Ruddr's form: a
# proxy's 404 page does not say that a stage is missing.
_PLAIN_WHOEVER_ANSWERS = {401, 429, 500, 502, 503, 504}


def error_of(
    status: int, headers: Mapping[str, str], content: bytes, *, is_write: bool
) -> errors.RuddrRequestError | None:
    """Judge an answer by its status, before anything parses its body.

    Args:
        status: The HTTP status.
        headers: The answer's headers; their names in any case are found only if the mapping
            does so, as HTTP clients' do.
        content: The whole body.
        is_write: Whether the request was one that changes something.

    Returns:
        None for a 200 that can be read, otherwise the error that the answer stands for. A body
        that is packed is not unpacked: a small one can be larger than any memory.
    """
    packing = headers.get("content-encoding", "identity")
    packed = packing.strip().lower() not in {"", "identity"}
    if status == HTTPStatus.OK and not packed:
        return None
    said = _Said(f"a body packed with {packing}, unasked") if packed else _said(content)
    kind = _DOCUMENTED.get(status)
    if kind is not None and (said.documented or status in _PLAIN_WHOEVER_ANSWERS):
        return kind(
            said.message,
            status=status,
            errors=said.errors,
            retry_after=_retry_after(headers.get("retry-after")),
            may_have_been_applied=is_write and status >= 500,
        )
    return errors.UnexpectedResponse(
        f"no document promises this answer: {said.message}",
        status=status,
        may_have_been_applied=is_write and not 300 <= status < 500,
    )


def malformed(error: Exception, *, is_write: bool) -> errors.UnexpectedResponse:
    """Return the error for a 200 whose body is not what the contract promises.

    Args:
        error: What the generated client, or the model, said on reading the body.
        is_write: Whether the request was one that changes something.
    """
    if isinstance(error, KeyError):
        what = f"{error} is missing"
    elif isinstance(error, ValidationError):
        what = "; ".join(f"{detail['loc'][0]}: {detail['msg']}" for detail in error.errors())
    else:
        what = str(error) or type(error).__name__
    return errors.UnexpectedResponse(
        f"the body is not what the API promises: {what}",
        status=200,
        may_have_been_applied=is_write,
    )


def gave_up(error: errors.RuddrRequestError, attempt: int) -> errors.GaveUp | None:
    """Return why a call that may succeed later is not tried again, or None.

    Args:
        error: How the attempt ended.
        attempt: Which attempt that was; the first is 1.
    """
    if not error.retryable:
        return None
    if error.retry_after is not None and error.retry_after > LONGEST_WAIT:
        return "wait"
    return "attempts" if attempt >= ATTEMPTS else None


def wait_before_next(error: errors.RuddrRequestError, attempt: int) -> float | None:
    """Return the seconds to wait before another attempt, or None where there is none to be.

    Args:
        error: How the attempt ended.
        attempt: Which attempt that was; the first is 1.
    """
    if not error.retryable or gave_up(error, attempt):
        return None
    if error.retry_after is None:
        return WAITS[attempt - 1] * (1 + JITTER * random.random())  # noqa: S311  # not a secret
    return error.retry_after


class _Said:
    """The message in a body, and whether the body has the documented form."""

    def __init__(self, message: str, texts: list[str] | None = None) -> None:
        self.message = message
        self.errors = texts or []
        self.documented = texts is not None


def _said(content: bytes) -> _Said:
    if not content.strip():
        return _Said("an empty body")
    try:
        body: Any = json.loads(content)
    except (ValueError, RecursionError):
        return _Said(_described(content.decode(errors="replace")))
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return _Said(f"a body of another form: {content[:200].decode(errors='replace')}")
    listed = body.get("errors")
    return _Said(
        body["message"],
        [str(text) for text in listed] if isinstance(listed, list) else [],
    )


def _described(text: str) -> str:
    title = re.search(r"<title[^>]*>([^<]{1,200})", text[:10_000], re.IGNORECASE)
    if title:
        return f"an HTML page, “{title[1].strip()}”"
    return f"a body that is not JSON: {text[:200]}"


def _retry_after(value: str | None) -> float | None:
    """Read a Retry-After header: seconds, or an HTTP date."""
    if value is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value.strip()):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())
