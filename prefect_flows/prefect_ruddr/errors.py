"""Every error this package raises, one class for each thing a caller can do about it.

```
RuddrError
├── InvalidStageUpdates (ValueError)      the input is wrong; nothing was sent
├── SourceUnreadable                      a file of updates that cannot be read
├── ExportFailed                          a file that cannot be written
├── HistoryRefused                        a history of deals that cannot be evaluated
├── ExtraMissing                          a package of an extra is not installed
├── InvalidCredentials                    the key or the URL cannot be right; nothing was sent
├── StageUpdatesFailed                    a run in which not every update is in effect
│   └── RunNotRecorded                    a run whose end Prefect could not record
├── DriftFound                            what is live is not what was wanted
├── StageEdited                           somebody changed the stage since; not written
├── ValueNotKept                          Ruddr confirmed, but holds another value
├── RunStopped                            the run ended before this stage's turn; not written
├── PlanNotFound                          there is no plan to undo or to apply
├── RunNotEnded                           the run to undo may still be writing
├── WorkspaceMismatch                     the key is another workspace's; nothing was written
├── GlobalConcurrencyLimitError           the named limit is missing or does not fit
└── RuddrRequestError                     a request that did not end well
    ├── NoAnswer                          no whole answer arrived
    │   ├── ConnectionFailed              never reached Ruddr, so nothing was carried out
    │   └── AnswerLost                    sent, but the answer did not come back
    ├── UnexpectedResponse                an answer that no document promises
    └── ErrorResponse                     an error that Ruddr documents
        ├── BadRequest             400
        ├── Unauthorized           401    ends the run
        ├── Forbidden              403    ends the run
        ├── StageNotFound          404
        ├── MethodNotAllowed       405
        ├── StageConflict          409
        ├── WorkspaceLocked        423    ends the run
        ├── TooManyRequests        429    worth another try
        └── ServerError  500, 502-504     worth another try
```

All of them pickle, and none of them holds a key, a request or a body of unbounded size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self, TypeAlias, TypeVar
from uuid import UUID

from prefect_ruddr.texts import one_line

E = TypeVar("E", bound="RuddrRequestError")

MOST_TEXTS = 20
"""How many of the server's `errors` an error keeps."""


GaveUp: TypeAlias = Literal["attempts", "wait"]
"""Why a call that may succeed later was not tried again; see `RuddrRequestError.gave_up`."""


class RuddrError(Exception):
    """Anything that this package raises on purpose."""


class InvalidStageUpdates(RuddrError, ValueError):
    """Stage updates that cannot be sent as they are; nothing was sent.

    Attributes:
        errors: One text for each thing that is wrong, over all the updates given.
    """

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        if len(self.errors) == 1:
            return f"Invalid stage update: {self.errors[0]}"
        more = len(self.errors) - MOST_TEXTS
        listed = "; ".join(self.errors[:MOST_TEXTS]) + (f"; and {more} more" * (more > 0))
        return f"Invalid stage updates, {len(self.errors)} errors: {listed}"


class SourceUnreadable(RuddrError):
    """A file of updates that cannot be opened, or not be read to its end; nothing was sent."""


class ExportFailed(RuddrError):
    """A file that cannot be written; on this machine the one that was there is as it was."""


class HistoryRefused(RuddrError):
    """A history of deals, or options for it, that cannot be evaluated; nothing was sent.

    Attributes:
        errors: One text for each kind of error, with how many rows have it and where.
    """

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = tuple(errors)
        super().__init__(self.errors)

    def __str__(self) -> str:
        more = len(self.errors) - MOST_TEXTS
        listed = "; ".join(self.errors[:MOST_TEXTS]) + (f"; and {more} more" * (more > 0))
        return f"The history of deals is refused: {listed}"


class ExtraMissing(RuddrError):
    """A package that only some users need is not installed; the text says how to install it."""


class InvalidCredentials(RuddrError):
    """A key or a URL that cannot be right, or is missing; nothing was sent.

    Not a `ValueError`: pydantic would wrap it in an error that holds the input, which is the
    key.
    """


class StageEdited(RuddrError):
    """Somebody has changed the stage since it was planned; it was not written after that.

    Attributes:
        in_doubt: Whether an earlier attempt, whose answer was lost, may have written it.
    """

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        self.in_doubt = in_doubt
        super().__init__(message)


class ValueNotKept(RuddrError):
    """Ruddr confirmed a change, but the stage holds another value than was sent."""


class RunStopped(RuddrError):
    """The run was stopped before this stage's turn; it was not written."""


class PlanNotFound(RuddrError):
    """Prefect knows no plan of that flow run that could be undone or applied."""


class RunNotEnded(RuddrError):
    """The flow run to undo has not ended, so it may still be writing; nothing was written."""


class WorkspaceMismatch(RuddrError):
    """The key belongs to another workspace than the plan; nothing was written."""


class GlobalConcurrencyLimitError(RuddrError):
    """The global concurrency limit that the credentials name is missing or does not fit."""


class RuddrRequestError(RuddrError):
    """A request to Ruddr that did not end well.

    Attributes:
        message: What the server, or the connection, said; at most 500 characters.
        status: The HTTP status, or None where no answer arrived.
        errors: The server's list of validation failures; at most 20.
        stage_id: The stage the request was about, or None.
        attempts: How many times the request was sent.
        retry_after: The wait in seconds that the server asked for, or None.
        retry_at: When that wait is over, in UTC, or None.
        gave_up: Why a call that may succeed later was not tried again: `"attempts"` after five
            of them, `"wait"` where the server asks for a wait of more than 60 s; None for
            every other error. `"wait"`, or several `"attempts"` in a row, are the sign of an
            outage: other calls of this key will most likely fail too.
        may_have_been_applied: True for a write that Ruddr may have carried out in spite of
            the error. Read the stage to know.
        was_read_back: Whether the message says what reading the stage showed.
        retryable: Whether the same request may succeed later.
        ends_run: Whether every other request of this key would fail the same way.
    """

    retryable: ClassVar[bool] = False
    ends_run: ClassVar[bool] = False
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        errors: Sequence[str] = (),
        stage_id: UUID | None = None,
        attempts: int = 1,
        retry_after: float | None = None,
        may_have_been_applied: bool = False,
    ) -> None:
        self.message = one_line(message)
        self.status = status
        self.errors = tuple(one_line(text) for text in errors[:MOST_TEXTS])
        self.stage_id = stage_id
        self.attempts = attempts
        self.retry_after = retry_after
        self.retry_at = None if retry_after is None else _in_seconds(retry_after)
        self.gave_up: GaveUp | None = None
        self.may_have_been_applied = may_have_been_applied
        self.was_read_back = False
        super().__init__(self.message)

    def __str__(self) -> str:
        where = f"stage {self.stage_id}: " if self.stage_id else ""
        status = f"HTTP {self.status}: " if self.status is not None else ""
        errors = f" ({'; '.join(self.errors)})" if self.errors else ""
        sent = f" [sent {self.attempts} times]" if self.attempts > 1 else ""
        doubt = (
            " The change may have been carried out: read the stage to know."
            if self.may_have_been_applied and not self.was_read_back
            else ""
        )
        asked = self.retry_after
        wait = f" The server asks to wait {asked:.0f} s." if asked is not None else ""
        if self.gave_up == "wait":
            wait += f" Try again after {self.retry_at:%Y-%m-%d %H:%M:%S} UTC."
        advice = f" {self.advice}" if self.advice else ""
        return f"{where}{status}{self.message}{errors}{sent}{doubt}{wait}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), self.args, self.__dict__.copy()))

    def about(
        self,
        *,
        stage_id: UUID | None,
        attempts: int,
        hide: Callable[[str], str] = str,
    ) -> Self:
        """Return a copy that says which stage it is about and how often the call was sent.

        Args:
            stage_id: The stage, or None.
            attempts: How many times the request was sent.
            hide: Returns a text without what must not be shown in it.
        """
        error = self._copied()
        error.stage_id = stage_id
        error.attempts = attempts
        error.message = hide(self.message)
        error.errors = tuple(hide(text) for text in self.errors)
        error.args = (error.message,)
        return error

    def _copied(self) -> Self:
        # Not `copy`: beside Dask it keeps the traceback and what led to the error, and so the key.
        return _restored(type(self), self.args, self.__dict__.copy())

    def read_back(self, finding: str) -> Self:
        """Return a copy that says what reading the stage showed of the write."""
        error = self._copied()
        error.message = f"{self.message}; read back: {finding}"
        error.was_read_back = True
        return error


class NoAnswer(RuddrRequestError):
    """No whole answer arrived."""

    retryable = True


class ConnectionFailed(NoAnswer):
    """The request never reached Ruddr, so nothing was carried out."""

    advice = "Check base_url and the network."


class AnswerLost(NoAnswer):
    """The request was sent, but its answer did not come back whole or in time."""


class UnexpectedResponse(RuddrRequestError):
    """An answer that no document promises: its status, its form or its content."""


class ErrorResponse(RuddrRequestError):
    """An error that Ruddr documents."""


class BadRequest(ErrorResponse):
    """400: the id or the body is malformed."""


class Unauthorized(ErrorResponse):
    """401: the key is missing, wrong or revoked."""

    ends_run = True
    advice = "Check the API key in the credentials block or in RUDDR_API_KEY."


class Forbidden(ErrorResponse):
    """403: the feature is not enabled for this workspace."""

    ends_run = True
    advice = "Ask the workspace's administrator to enable it."


class StageNotFound(ErrorResponse):
    """404: the workspace has no such stage."""


class MethodNotAllowed(ErrorResponse):
    """405: the server does not support this call; base_url may be wrong."""

    advice = "Check base_url."


class StageConflict(ErrorResponse):
    """409: another stage has the same identifying data, or this one is read-only."""


class WorkspaceLocked(ErrorResponse):
    """423: API access is disabled for the whole workspace."""

    ends_run = True
    advice = "Ask the workspace's administrator to enable API access."


class TooManyRequests(ErrorResponse):
    """429: the workspace's request budget is spent, by us or by another integration."""

    retryable = True


class ServerError(ErrorResponse):
    """500, 502, 503 or 504: trouble at the server or at what stands in front of it."""

    retryable = True


def _in_seconds(seconds: float) -> datetime:
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def _restored(kind: type[E], args: tuple[Any, ...], state: dict[str, Any]) -> E:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
