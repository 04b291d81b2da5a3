"""Apply the updates on standard input, and tell what the caller gets, as JSON.

Usage: `python apply_and_tell.py`, with `RUDDR_API_KEY` and `RUDDR_BASE_URL`.
"""

import json
import sys

from prefect_ruddr import RuddrCredentials, StageUpdatesFailed, apply_stage_updates

if __name__ == "__main__":
    ruddr_credentials = RuddrCredentials.from_env().model_copy(
        update={"requests_per_second": 1000.0, "burst": 1000}
    )
    try:
        report = apply_stage_updates(ruddr_credentials, json.load(sys.stdin))
    except StageUpdatesFailed as error:
        print(json.dumps([type(error).__name__, str(error), error.report.counts]))
    else:
        print(json.dumps(["StageReport", "", report.counts]))
