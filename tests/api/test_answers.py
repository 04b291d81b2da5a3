"""What an answer means, judged before anything parses its body, and how long to wait then."""

from __future__ import annotations

import json
import string
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr import errors
from prefect_ruddr.api import answers
from prefect_ruddr.errors import RuddrRequestError

HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def documented(status: int, **more: Any) -> bytes:
    """Return the body that Ruddr documents for an error."""
    return json.dumps({"status": status, "message": "As documented.", **more}).encode()


def judged(
    status: int, content: bytes, *, is_write: bool = False, retry_after: str | None = None
) -> RuddrRequestError:
    """Return the error that an answer stands for."""
    headers = {} if retry_after is None else {"retry-after": retry_after}
    error = answers.error_of(status, headers, content, is_write=is_write)
    assert error is not None
    return error


DOCUMENTED = [400, 401, 403, 404, 405, 409, 423, 429, 500, 502, 503, 504]


def test_a_200_is_no_error() -> None:
    """Whether its body is good is for the model to say."""
    assert answers.error_of(200, {}, b"", is_write=True) is None


@pytest.mark.parametrize("status", DOCUMENTED)
def test_a_documented_error_keeps_what_ruddr_said(status: int) -> None:
    """Status, message and the list of failed validations."""
    error = judged(status, documented(status, errors=["name: too long", 7]))
    assert isinstance(error, errors.ErrorResponse)
    assert (error.status, error.message) == (status, "As documented.")
    assert error.errors == ("name: too long", "7")


@pytest.mark.parametrize("listed", ["text", 5, None, {"a": 1}], ids=repr)
def test_errors_of_another_form_are_left_out(listed: object) -> None:
    """The message counts; a list that is none does not hide it."""
    assert judged(400, documented(400, errors=listed)).errors == ()


@pytest.mark.parametrize("status", [401, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("content", [HTML, b"", b"\xff\xfe", b"[]"], ids=repr)
def test_some_statuses_mean_the_same_whoever_answers(status: int, content: bytes) -> None:
    """What stands in front of Ruddr answers with these too, in its own form."""
    assert isinstance(judged(status, content), errors.ErrorResponse)
    assert judged(status, content).status == status


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 423])
@pytest.mark.parametrize("content", [HTML, b"", b'{"error": "nope"}'], ids=["HTML", "", "JSON"])
def test_the_other_statuses_are_ruddrs_word_only_in_ruddrs_form(
    status: int, content: bytes
) -> None:
    """A proxy's 404 page does not say that a stage is missing, nor its 403 to end the run."""
    error = judged(status, content)
    assert type(error) is errors.UnexpectedResponse
    assert not error.ends_run


@pytest.mark.parametrize("status", [100, 201, 204, 206, 301, 302, 304, 307, 402, 418, 520, 599])
def test_an_undocumented_status_is_an_unexpected_response(status: int) -> None:
    """Even with a body in the documented form; nothing is known of it, so nothing is retried."""
    error = judged(status, documented(status))
    assert type(error) is errors.UnexpectedResponse
    assert error.status == status
    assert not error.retryable


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(HTML, "an HTML page, “502 Bad Gateway”", id="HTML"),
        pytest.param(b"<p>no title</p>", "a body that is not JSON: <p>no title</p>", id="no title"),
        pytest.param(b" \n", "an empty body", id="blank"),
        pytest.param(b"[1]", "a body of another form: [1]", id="list"),
        pytest.param(b'{"message": 5}', 'a body of another form: {"message": 5}', id="number"),
        pytest.param(b"\xff", "a body that is not JSON: \ufffd", id="no text"),
        pytest.param(b"[" * 10**5, "a body that is not JSON: " + "[" * 200, id="deep"),
        pytest.param(b"9" * 10**4, "a body that is not JSON: " + "9" * 200, id="huge number"),
    ],
)
def test_a_body_of_another_form_is_described(content: bytes, message: str) -> None:
    """Enough to tell who answered, and no more."""
    assert judged(500, content).message == message


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 201, 204])
def test_a_write_that_failed_like_this_may_have_been_applied(status: int) -> None:
    """The server, or what is in front of it, had the request when things went wrong."""
    assert judged(status, documented(status), is_write=True).may_have_been_applied
    assert not judged(status, documented(status), is_write=False).may_have_been_applied


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 405, 409, 418, 423, 429])
def test_a_write_that_was_refused_was_not_applied(status: int) -> None:
    """An error of the 300s and 400s says that nothing was done."""
    assert not judged(status, documented(status), is_write=True).may_have_been_applied


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("7", 7.0, id="seconds"),
        pytest.param("0", 0.0, id="none"),
        pytest.param(" 1.5 ", 1.5, id="fraction"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0.0, id="date in the past"),
        pytest.param("-5", None, id="negative"),
        pytest.param("soon", None, id="word"),
        pytest.param("", None, id="empty"),
        pytest.param("inf", None, id="infinity"),
        pytest.param("1e3", None, id="exponent"),
        pytest.param("9" * 400, None, id="huge"),
        pytest.param("٣", None, id="digits of another script"),
        pytest.param("Wed, 99 Oct 2015 07:28:00 GMT", None, id="no date"),
        pytest.param("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None, id="no year"),
    ],
)
def test_a_retry_after_is_read_in_either_form(value: str, seconds: float | None) -> None:
    """Seconds or an HTTP date; what is neither is as good as none."""
    assert judged(429, documented(429), retry_after=value).retry_after == seconds


@given(
    st.text(string.printable)
    | st.from_regex(r"(Wed, )?[0-9]{1,3} Oct [0-9]{1,12} [0-9:]{0,9} ?(GMT|[+-][0-9]{1,9})?")
)
def test_whatever_a_retry_after_says_the_answer_is_judged(value: str) -> None:
    """A header that nobody can read hides no error."""
    wait = judged(429, documented(429), retry_after=value).retry_after
    assert wait is None or wait >= 0


@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_a_retry_after_can_be_a_date_to_come(zone: str) -> None:
    """The wait lasts until then, whichever way the date says that it is in UTC."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30)).replace("+0000", zone)
    wait = judged(503, documented(503), retry_after=date).retry_after
    assert wait is not None
    assert 27 < wait <= 30


@pytest.mark.parametrize(("attempt", "least"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0)])
def test_the_waits_are_the_ones_the_vendor_suggests(attempt: int, least: float) -> None:
    """1, 2, 4 and 8 seconds, and up to a quarter more by chance, so that processes spread out."""
    error = errors.TooManyRequests("Slow down.", status=429)
    waits = {answers.wait_before_next(error, attempt) for _ in range(100)}
    assert len(waits) > 50
    assert all(wait is not None and least <= wait <= least * 1.25 for wait in waits)


def test_the_fifth_attempt_is_the_last() -> None:
    """The vendor suggests five."""
    assert answers.wait_before_next(errors.ServerError("No.", status=500), 5) is None
    assert answers.wait_before_next(errors.ServerError("No.", status=500, retry_after=1), 5) is None


@pytest.mark.parametrize(("asked", "wait"), [(0.0, 0.0), (3.5, 3.5), (60.0, 60.0), (60.5, None)])
def test_a_retry_after_of_up_to_a_minute_is_obeyed(asked: float, wait: float | None) -> None:
    """To the second; a longer one is not worth holding a worker for."""
    error = errors.TooManyRequests("Slow down.", status=429, retry_after=asked)
    assert answers.wait_before_next(error, 1) == wait


@pytest.mark.parametrize(
    ("error", "attempt", "expected"),
    [
        pytest.param(errors.ServerError("No.", status=500), 4, None, id="tried again"),
        pytest.param(errors.ServerError("No.", status=500), 5, "attempts", id="fifth attempt"),
        pytest.param(errors.ConnectionFailed("No."), 5, "attempts", id="not reached"),
        pytest.param(errors.TooManyRequests("No.", retry_after=61), 1, "wait", id="long wait"),
        pytest.param(errors.TooManyRequests("No.", retry_after=61), 5, "wait", id="long at last"),
        pytest.param(errors.TooManyRequests("No.", retry_after=60), 1, None, id="short wait"),
        pytest.param(errors.BadRequest("No.", retry_after=61), 1, None, id="refused"),
        pytest.param(errors.Unauthorized("No.", status=401), 5, None, id="wrong key"),
    ],
)
def test_what_is_not_tried_again_says_why(
    error: RuddrRequestError, attempt: int, expected: str | None
) -> None:
    """Only what another attempt could have mended is given up."""
    assert answers.gave_up(error, attempt) == expected


@pytest.mark.parametrize("asked", ["999999999", "Fri, 31 Dec 9999 23:59:59 -2359"])
def test_a_wait_of_any_length_has_an_end_that_can_be_told(asked: str) -> None:
    """No date is beyond those there are."""
    error = judged(429, documented(429), retry_after=asked)
    error.gave_up = answers.gave_up(error, 1)
    assert error.retry_at is not None
    assert "Try again after" in str(error)


def test_a_wait_that_is_too_long_is_in_the_message() -> None:
    """Whoever reads the failure learns when to come back."""
    error = judged(429, documented(429), retry_after="3600")
    assert "asks to wait 3600 s" in str(error)


@pytest.mark.parametrize(
    "error",
    [
        errors.BadRequest("No.", status=400, retry_after=1),
        errors.StageConflict("No.", status=409),
        errors.UnexpectedResponse("No.", status=520),
    ],
    ids=lambda error: type(error).__name__,
)
def test_nothing_else_is_tried_again(error: RuddrRequestError) -> None:
    """The same request would fail in the same way, whatever the answer asks for."""
    assert answers.wait_before_next(error, 1) is None
