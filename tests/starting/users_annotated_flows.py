"""As `users_flows`, in a module whose annotations are only strings.

Prefect cannot resolve those of a flow or task that travels to another process, so they name
nothing but Python's own types.
"""

from __future__ import annotations

import sys

from prefect import flow, task

from prefect_ruddr import RuddrCredentials, apply_stage_updates


@flow
def recalibrate_annotated(updates: list[dict[str, object]]) -> object:
    """Change stages with the credentials of the environment."""
    return apply_stage_updates(RuddrCredentials.from_env(), updates)


@task
def recalibrated_annotated(ruddr_credentials: object, updates: list[dict[str, object]]) -> object:
    """Change stages, wherever the task runner has this run."""
    return apply_stage_updates(ruddr_credentials, updates)


if __name__ == "__main__":
    globals()[sys.argv[1]].serve(name="served")
