"""The automations of the page, in a real Prefect server: each sends what it says, when it says."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import tags
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from pydantic import TypeAdapter

from docs.pages import Page
from prefect_ruddr import (
    RuddrCredentials,
    apply_stage_plan,
    apply_stage_updates,
    check_stage_drift,
)
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox
from runs.records import eventually, run

AUTOMATIONS = Page("docs/automations.md").marked("automation")
WANTED = {"id": EXAMPLE_STAGE_ID, "probability": 0.9}


@pytest.fixture
def notified() -> Iterator[tuple[str, list[str]]]:
    """The address of a webhook, and what it has been sent."""
    received: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            received.append(self.rfile.read(length).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Webhook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def drifted(sandbox: Sandbox, ruddr_credentials: RuddrCredentials, folder: Path) -> None:
    """Edit a stage that a file says something else of, and check."""
    file = folder / "stages.jsonl"
    file.write_text(f'{{"id": "{EXAMPLE_STAGE_ID}", "probability": 0.75}}\n')
    run(check_stage_drift, ruddr_credentials, str(file))
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.2)
    run(check_stage_drift, ruddr_credentials, str(file))


def asked(sandbox: Sandbox, ruddr_credentials: RuddrCredentials, folder: Path) -> None:
    """Let a run wait for approval, a second long."""
    with tags("ruddr"):
        run(
            apply_stage_updates,
            ruddr_credentials,
            [WANTED],
            approval="always",
            approval_timeout_seconds=1,
        )


def conflicted(sandbox: Sandbox, ruddr_credentials: RuddrCredentials, folder: Path) -> None:
    """Apply a plan to a stage that was edited since."""
    planned = run(apply_stage_updates, ruddr_credentials, [WANTED], dry_run=True)
    sandbox.edit(EXAMPLE_STAGE_ID, probability=0.2)
    run(apply_stage_plan, ruddr_credentials, planned.flow_run_id)


@pytest.mark.parametrize(
    ("name", "happens", "said"),
    [
        pytest.param("drift", drifted, r"drift: 1 of 1 stage not as in stages.jsonl", id="drift"),
        pytest.param("approval", asked, r"apply 1 update: ", id="approval"),
        pytest.param("conflict", conflicted, r"1 conflict", id="conflict"),
    ],
)
def test_an_automation_of_the_page_notifies_once(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    *,
    tmp_path: Path,
    notified: tuple[str, list[str]],
    name: str,
    happens: Any,
    said: str,
) -> None:
    """Not of a check without drift, a dry run, or a run without conflicts."""
    url, received = notified
    block = CustomWebhookNotificationBlock(name="to us", url=url, json_data={"text": "{{body}}"})
    block_id = block.save(f"webhook-{name}", overwrite=True)
    content = AUTOMATIONS[name].replace("BLOCK_DOCUMENT_ID", str(block_id))
    automation: Any = TypeAdapter(AutomationCore).validate_python(yaml.safe_load(content))
    with get_client(sync_client=True) as client:
        answer = client.request(
            "POST", "/automations/", json=automation.model_dump(mode="json", exclude_unset=True)
        )
        automation_id = UUID(answer.json()["id"])
        try:
            happens(sandbox, ruddr_credentials, tmp_path)
            [notification] = eventually(lambda: list(received), bool)
            assert re.search(said, notification)
        finally:
            path: Any = f"/automations/{automation_id}"
            client.request("DELETE", path)
