"""As `users_flows`, in a module whose annotations are only strings.

Prefect cannot resolve the names in those of a flow that travels to another process, so this flow's
are Python's own types. What is no parameter, and a task, may be annotated with anything.
"""

from __future__ import annotations

import sys

from prefect import flow, task

from prefect_ruddr import RuddrCredentials, StageReport, StageUpdate, apply_stage_updates


@flow
def recalibrate_annotated(updates: list[dict[str, object]]) -> object:
    """Change stages with the credentials of the environment."""
    return apply_stage_updates(RuddrCredentials.from_env(), updates)


@task
def recalibrated_annotated(
    ruddr_credentials: RuddrCredentials, updates: list[StageUpdate]
) -> StageReport:
    """Change stages, wherever the task runner has this run."""
    return apply_stage_updates(ruddr_credentials, updates)


if __name__ == "__main__":
    globals()[sys.argv[1]].serve(name="served")
