"""The sandbox as a program: `python -m prefect_ruddr.sandbox`."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import NoReturn

from prefect_ruddr.sandbox.bucket import BURST, RATE
from prefect_ruddr.sandbox.sandbox import Sandbox

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str] | None = None) -> None:
    """Run a sandbox until Ctrl-C or SIGTERM.

    Args:
        arguments: The command line without the program; None for the one of this process.

    Raises:
        SystemExit: 2, the options do not allow it to start.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        sandbox = Sandbox(**vars(options), record=0)
        # Blocked here and in the server's thread, and waited for below: Python's own handler
        # would raise KeyboardInterrupt in the middle of anything.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        with sandbox:
            print(sandbox.base_url, flush=True)
            signal.sigwait(_STOP_SIGNALS)
    except ValueError as error:
        parser.error(str(error))
    except OSError as error:
        subject = error.filename or f"{options.host}, port {options.port}"
        parser.error(f"{subject}: {os.strerror(error.errno or 0)}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m prefect_ruddr.sandbox",
        description="A local Ruddr: opportunity stages to read and change, with the request "
        "limit and the errors of the real one. Prints its base URL when it is ready; Ctrl-C "
        "ends it.",
        epilog="Trouble on request: send a header such as "
        """'Sandbox-Fault: {"status": 503}' """
        "with a request, or POST "
        """'{"status": 503, "count": 3}' """
        "to /sandbox/faults for the next three.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="loopback address to listen on (%(default)s)"
    )
    parser.add_argument(
        "--port", type=_port, default=8410, help="port, 0 for a free one (%(default)s)"
    )
    parser.add_argument(
        "--api-key", metavar="KEY", default="sandbox-key", help="key it accepts (%(default)s)"
    )
    parser.add_argument(
        "--stages", metavar="N", type=int, help="stages to start with (18 in three pipelines)"
    )
    parser.add_argument(
        "--rate",
        type=_rate,
        default=RATE,
        help="requests a second in the long run, 'none' for no limit (%(default)g)",
    )
    parser.add_argument(
        "--burst",
        metavar="N",
        type=int,
        default=BURST,
        help="requests at once after a pause (%(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="S",
        type=int,
        default=1,
        help="decides the ids it starts with (%(default)s)",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        type=Path,
        help="JSON file that keeps the workspace; when it exists, --stages and --seed do not "
        "matter",
    )
    parser.add_argument(
        "--omit-pipeline",
        action="store_true",
        help="leave opportunityPipelineId out of answers, as some of Ruddr's examples do",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _rate(text: str) -> float | None:
    try:
        return None if text == "none" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor 'none'") from None


if __name__ == "__main__":
    main()
