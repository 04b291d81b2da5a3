"""Gets a report to its caller where Prefect is gone, and soon."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

from prefect_ruddr.prefect_api import few_retries
from prefect_ruddr.stages.outcome import RunNotRecorded, StageReport

MOST_RETRIES = 1
"""How often a call of Prefect's API is tried again at the end of a run, which takes 2 s."""


class Record:
    """Whether Prefect could record a run.

    Attributes:
        report: The report that could not be published; None as long as all is well.
    """

    def __init__(self) -> None:
        self.report: StageReport | None = None
        self._settings = ExitStack()

    def is_missing(self, report: StageReport) -> None:
        """Note that Prefect did not take a report, and do not wait long for it from here on."""
        self.report = report
        self._settings.enter_context(few_retries(MOST_RETRIES))

    def close(self) -> None:
        """Wait for Prefect's API as before."""
        self._settings.close()


_RECORD: ContextVar[Record] = ContextVar("ruddr_record")


@contextmanager
def recorded_or_not() -> Iterator[Record]:
    """Yield what becomes known of the record of the run inside."""
    record = Record()
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        record.close()
        _RECORD.reset(token)


def note_missing(report: StageReport) -> None:
    """Note, inside a run, that Prefect did not take its report."""
    if record := _RECORD.get(None):
        record.is_missing(report)


def not_recorded(report: StageReport, error: Exception) -> RunNotRecorded:
    """Return the error for a run whose end Prefect could not record."""
    why = " ".join(str(error).split()) or type(error).__name__
    return RunNotRecorded(
        f"{report.in_one_line()}; Prefect could not record how the run ended: {why}", report
    )
