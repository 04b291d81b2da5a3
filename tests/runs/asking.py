"""A flow run that waits for a person, and the answer as Prefect's UI gives it."""

from __future__ import annotations

import json
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from prefect_ruddr.records.plan_table import PLAN_KEY

from .records import Ended, artifacts, eventually, flow_runs_that_wait


class Asked:
    """A flow run, in a thread of its own, that waits for an answer.

    Args:
        ended: How it ends, in a while.
        others: The flow runs that waited before.
    """

    def __init__(self, ended: Future[Ended], others: list[str]) -> None:
        self._ended = ended
        (paused,) = eventually(
            lambda: [found for found in flow_runs_that_wait() if found["id"] not in others],
            lambda found: found,
        )
        self.flow_run_id = UUID(paused["id"])
        self._keyset = paused["state"]["state_details"]["run_input_keyset"]
        self.form: str = json.loads(self._input("description"))
        self._input("schema")  # comes after the state; an answer before it would be refused
        (plan,) = artifacts(self.flow_run_id, PLAN_KEY)
        self.digest: str = plan["metadata_"]["digest"]

    def answer(self, **said: Any) -> Ended:
        """Answer as Prefect's UI does, and wait for the end."""
        with get_client(sync_client=True) as client:
            client.resume_flow_run(self.flow_run_id, run_input=said)
        return self.ended()

    def ended(self) -> Ended:
        """Wait for the end."""
        return self._ended.result(timeout=60)

    def _input(self, key: str) -> str:
        def read() -> str | None:
            with get_client(sync_client=True) as client:
                try:
                    return client.read_flow_run_input(self.flow_run_id, self._keyset[key])
                except PrefectHTTPStatusError:
                    return None

        return str(eventually(read, lambda found: found))
