"""Where a line about a run goes."""

from __future__ import annotations

import logging


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Return the run's own log inside a Prefect run, and the package's elsewhere."""
    # Only trouble is logged from where this is used; without any, Prefect is not needed.
    from prefect.exceptions import MissingContextError  # noqa: PLC0415
    from prefect.logging import get_run_logger  # noqa: PLC0415

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_ruddr")
