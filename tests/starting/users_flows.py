"""A project of somebody's own: flows and tasks that change stages, and a way to serve each.

Usage: `python users_flows.py NAME`, with `RUDDR_API_KEY` and `RUDDR_BASE_URL`.
"""

import sys
from typing import Any

from prefect import flow, task

from prefect_ruddr import RuddrCredentials, StageReport, StageUpdate, apply_stage_updates


@flow
def recalibrate(updates: list[StageUpdate]) -> StageReport:
    """Change stages with the credentials of the environment."""
    return apply_stage_updates(RuddrCredentials.from_env(), updates)


@task
def recalibrated(ruddr_credentials: RuddrCredentials, updates: list[dict[str, Any]]) -> StageReport:
    """Change stages, wherever the task runner has this run."""
    return apply_stage_updates(ruddr_credentials, updates)


if __name__ == "__main__":
    globals()[sys.argv[1]].serve(name="served")
