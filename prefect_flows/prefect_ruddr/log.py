"""Where a line about a run goes."""

from __future__ import annotations

import logging
import sys


def run_logger() -> logging.Logger | logging.LoggerAdapter[logging.Logger]:
    """Return the run's own log inside a Prefect run, and the package's elsewhere."""
    if "prefect" not in sys.modules:
        return logging.getLogger("prefect_ruddr")  # there is no run, and no need to load Prefect
    # Only trouble is logged from where this is used; without any, this is not needed.
    from prefect.exceptions import MissingContextError  # noqa: PLC0415
    from prefect.logging import get_run_logger  # noqa: PLC0415

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("prefect_ruddr")
