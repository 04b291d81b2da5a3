"""Every error this package raises, one class for each thing a caller can do about it.

```
RuddrError
├── InvalidStageUpdates (ValueError)      the input is wrong; nothing was sent
├── SourceUnreadable                      a file of updates that cannot be read
├── HistoryRefused                        a history of deals that cannot be evaluated
├── ExtraMissing                          a package of an extra is not installed
├── InvalidCredentials                    the key or the URL cannot be right; nothing was sent
├── StageUpdatesFailed                    a run in which not every update is in effect
├── StageEdited                           somebody changed the stage since; not written
├── ValueNotKept                          Ruddr confirmed, but holds another value
├── PlanNotFound                          there is no plan to take back
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

from collections.abc import Sequence
from copy import copy
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

if TYPE_CHECKING:
    from prefect_ruddr.outcomes import StageReport

LONGEST_TEXT = 500
"""How many characters of a text from the server an error keeps."""

MOST_TEXTS = 20
"""How many of the server's `errors` an error keeps."""


class RuddrError(Exception):
    """Anything that this package raises on purpose."""


class InvalidStageUpdates(RuddrError, ValueError):
    """Stage updates that cannot be sent as they are; nothing was sent.

    Attributes:
        violations: One text for each thing that is wrong, over all the updates given.
    """

    def __init__(self, violations: Sequence[str]) -> None:
        self.violations = tuple(violations)
        super().__init__(self.violations)

    def __str__(self) -> str:
        if len(self.violations) == 1:
            return f"Invalid stage update: {self.violations[0]}"
        more = len(self.violations) - MOST_TEXTS
        listed = "; ".join(self.violations[:MOST_TEXTS]) + (f"; and {more} more" * (more > 0))
        return f"Invalid stage updates, {len(self.violations)} violations: {listed}"


class SourceUnreadable(RuddrError):
    """A file of updates that cannot be opened, or not be read to its end; nothing was sent."""


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


class StageUpdatesFailed(RuddrError):
    """A run that ended with updates that are not in effect.

    Attributes:
        report: The whole report: one outcome for each update, in input order.
    """

    def __init__(self, message: str, report: StageReport) -> None:
        self.report = report
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (*self.args, self.report))


class StageEdited(RuddrError):
    """Somebody has changed the stage since it was planned; it was not written."""


class ValueNotKept(RuddrError):
    """Ruddr confirmed a change, but the stage holds another value than was sent."""


class PlanNotFound(RuddrError):
    """Prefect knows no plan of that flow run that could be taken back."""


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
        may_have_been_applied: True for a write that Ruddr may have carried out in spite of
            the error. Read the stage to know.
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
        self.message = bounded(message)
        self.status = status
        self.errors = tuple(bounded(text) for text in errors[:MOST_TEXTS])
        self.stage_id = stage_id
        self.attempts = attempts
        self.retry_after = retry_after
        self.may_have_been_applied = may_have_been_applied
        super().__init__(self.message)

    def __str__(self) -> str:
        where = f"stage {self.stage_id}: " if self.stage_id else ""
        status = f"HTTP {self.status}: " if self.status is not None else ""
        errors = f" ({'; '.join(self.errors)})" if self.errors else ""
        sent = f" [sent {self.attempts} times]" if self.attempts > 1 else ""
        doubt = (
            " The change may have been carried out: read the stage to know."
            if self.may_have_been_applied
            else ""
        )
        asked = self.retry_after
        wait = f" The server asks to wait {asked:.0f} s." if asked is not None else ""
        advice = f" {self.advice}" if self.advice else ""
        return f"{where}{status}{self.message}{errors}{sent}{doubt}{wait}{advice}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restored, (type(self), self.args, self.__dict__.copy()))

    def about(self, *, stage_id: UUID | None, attempts: int) -> Self:
        """Return a copy that says which stage it is about and how often the call was sent."""
        error = copy(self)
        error.stage_id = stage_id
        error.attempts = attempts
        return error

    def read_back(self, finding: str) -> Self:
        """Return a copy that knows, from reading the stage, what became of the write."""
        error = copy(self)
        error.message = f"{self.message}; read back: {finding}"
        error.may_have_been_applied = False
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


def bounded(text: str) -> str:
    """Return the text on one line, cut to 500 characters that can be shown and stored."""
    line = " ".join(text.split())
    cut = line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 1]}…"
    # A database refuses a NUL, and an encoder half a character; a terminal obeys an escape.
    return cut if cut.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in cut)


def shown(value: Any) -> str:
    """Return a value as an error shows it: at most 80 characters, and how many there were."""
    # The text of a number, not Decimal('1.5') or np.float64(1.5).
    text = bounded(str(value) if isinstance(value, Real | Decimal) else repr(value))
    if len(text) <= 80:
        return text
    length = f" ({len(value)} characters)" if isinstance(value, str) else ""
    return f"{text[:60]}…{length}"


def _restored(
    kind: type[RuddrRequestError], args: tuple[Any, ...], state: dict[str, Any]
) -> RuddrRequestError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error
