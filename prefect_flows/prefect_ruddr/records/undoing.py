"""How to undo a run: with the deployment where there is one, else with two lines of Python."""

from __future__ import annotations

import json
from urllib.parse import urlencode
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.client.schemas.sorting import DeploymentSort
from prefect.utilities.urls import url_for

UNDO_FLOW = "undo-stage-updates"


def how_to_undo(flow_run_id: UUID, block_name: str | None) -> str:
    """Return how a person undoes a run, in Markdown.

    Args:
        flow_run_id: The run.
        block_name: The name of the credentials' block, where they were loaded from one.
    """
    with get_client(sync_client=True) as client:
        deployments = client.read_deployments(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[UNDO_FLOW])),
            sort=DeploymentSort.NAME_ASC,
            limit=1,
        )
    if not deployments:
        loaded = f'RuddrCredentials.load("{block_name}")' if block_name else _FROM_ENV
        return "\n".join(
            [
                "```python",
                "from prefect_ruddr import RuddrCredentials, undo_stage_updates",
                # A longer line is cut off in Prefect's UI.
                f"ruddr_credentials = {loaded}",
                f'flow_run_id = "{flow_run_id}"',
                "undo_stage_updates(ruddr_credentials, flow_run_id)",
                "```",
            ]
        )
    name = f"{UNDO_FLOW}/{deployments[0].name}"
    command = f"prefect deployment run '{name}' --param flow_run_id={flow_run_id}"
    page = url_for("deployment", deployments[0].id)
    form = urlencode({"parameters": json.dumps({"flow_run_id": str(flow_run_id)})})
    link = f"[Start the undo]({page}/run?{form}), or run:\n\n" if page else ""
    return f"{link}```\n{command}\n```"


_FROM_ENV = "RuddrCredentials.from_env()"
