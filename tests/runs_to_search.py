"""Runs that end in every way there is, as a program: all it leaves behind is searched for the key.

Arguments: the sandbox's URL, a folder for pickled errors, and the ids of stages whose requests
the sandbox answers in all the ways that it can. The key is in the environment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import SecretStr

from prefect_ruddr import (
    RuddrCredentials,
    Stage,
    apply_stage_updates,
    aupdate_opportunity_stage,
    update_opportunity_stage,
    update_opportunity_stage_flow,
)
from prefect_ruddr.api import answers


@flow(persist_result=True)
async def in_an_event_loop(ruddr_credentials: RuddrCredentials, update: dict[str, Any]) -> Stage:
    """Change a stage by the async version."""
    return await aupdate_opportunity_stage(ruddr_credentials, update)


@flow(persist_result=True)
def on_a_task_runner(ruddr_credentials: RuddrCredentials, update: dict[str, Any]) -> Stage:
    """Change a stage from another thread."""
    return update_opportunity_stage.submit(ruddr_credentials, update).result()


@task
def broken(ruddr_credentials: RuddrCredentials) -> None:
    """Fail as a user's own code does that has the block at hand."""
    raise RuntimeError(f"broken with {ruddr_credentials!r} and {ruddr_credentials.get_client()!r}")


@flow(flow_run_name="the last run")
def of_a_user(ruddr_credentials: RuddrCredentials) -> None:
    """Fail in a user's own task."""
    broken(ruddr_credentials)


def main(base_url: str, folder: str, stage_ids: list[str]) -> None:
    """Carry out all the runs, and go on after each failure."""
    everything = logging.StreamHandler(sys.stdout)
    everything.setLevel(logging.DEBUG)
    logging.getLogger().addHandler(everything)
    logging.getLogger().setLevel(logging.DEBUG)
    answers.WAITS = (0.01, 0.01, 0.01, 0.01)
    credentials = RuddrCredentials(
        api_key=SecretStr(os.environ["RUDDR_API_KEY"]), base_url=base_url, timeout_seconds=0.2
    )
    wrong_key = credentials.model_copy(
        update={"api_key": SecretStr(os.environ["RUDDR_API_KEY"] + "_wrong")}
    )
    refused = credentials.model_copy(update={"base_url": "http://127.0.0.1:9/api/workspace"})
    updates = [{"id": stage_id, "probability": 0.5} for stage_id in stage_ids]
    runs: list[Callable[[], object]] = [
        *(lambda u=u: update_opportunity_stage_flow(credentials, u) for u in updates),
        *(lambda u=u: asyncio.run(in_an_event_loop(credentials, u)) for u in updates[:3]),
        *(lambda u=u: on_a_task_runner(credentials, u) for u in updates[:2]),
        lambda: update_opportunity_stage_flow(credentials, {"id": "no id", "name": None}),
        lambda: update_opportunity_stage_flow(refused, updates[0]),
        lambda: update_opportunity_stage_flow(wrong_key, updates[0]),
        lambda: asyncio.run(in_an_event_loop(wrong_key, updates[0])),
        lambda: apply_stage_updates(credentials, updates, dry_run=True),
        lambda: apply_stage_updates(credentials, updates),
        lambda: apply_stage_updates(wrong_key, updates),
        lambda: of_a_user(credentials),
    ]
    for number, run in enumerate(runs):
        try:
            run()
        except Exception as error:  # noqa: BLE001 - all of them are to be searched
            traceback.print_exception(error)
            (Path(folder) / f"{number}.pickle").write_bytes(pickle.dumps(error))
    print("all runs have ended")


if __name__ == "__main__":
    # The thread that sends heartbeats takes a second to stop at the end of each flow.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        main(sys.argv[1], sys.argv[2], sys.argv[3:])
