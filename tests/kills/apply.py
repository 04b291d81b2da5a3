"""Apply the updates on standard input, in a process that a test may kill.

Usage: `python apply.py FLOW_RUN_NAME`, with `RUDDR_API_KEY` and `RUDDR_BASE_URL`.
"""

import json
import signal
import sys

from prefect_ruddr import RuddrCredentials, apply_stage_updates

if __name__ == "__main__":
    # Whoever started the tests in the background has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ruddr_credentials = RuddrCredentials.from_env().model_copy(
        update={"requests_per_second": 1000.0, "burst": 1000}
    )
    apply_stage_updates.with_options(flow_run_name=sys.argv[1])(
        ruddr_credentials, json.load(sys.stdin)
    )
