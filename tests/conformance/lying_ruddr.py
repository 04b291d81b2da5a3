"""A Ruddr that answers what it is told to, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

API_KEY = "rk_test_4f9d2c7b1a8e"
STAGE_ID = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"
STAGES = "/opportunity-stages"


def stage(**other: Any) -> dict[str, Any]:
    """Return a stage as the contract has it, with some fields otherwise."""
    return {
        "id": STAGE_ID,
        "name": "Secret Negotiation",
        "description": None,
        "probability": 0.75,
        "statusId": "open",
        "isActive": True,
        "opportunityPipelineId": "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2",
        "createdAt": "2025-02-10T09:15:42.891Z",
        **other,
    }


def without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return a body without some of its fields."""
    return {name: value for name, value in values.items() if name not in names}


@dataclass
class LyingRuddr:
    """What it answers.

    Attributes:
        workspace: The workspace.
        stages: The list, and each stage by its id.
        page: What a page has besides `results`.
        headers: What every answer has besides its type.
        patched: What a stage is after a PATCH, by what it was before.
        requests: The methods and paths that were asked for.
    """

    workspace: Any = field(
        default_factory=lambda: {"id": "3d0c9f1e-52a7-4c6b-8e1d-9a4b7c2f6e08", "name": "Secret Co"}
    )
    stages: list[Any] = field(default_factory=lambda: [stage()])
    page: dict[str, Any] = field(default_factory=lambda: {"hasMore": False})
    headers: dict[str, str] = field(default_factory=dict)
    patched: dict[str, Any] = field(default_factory=dict)
    none: int = 404
    base_url: str = ""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Return the status and the body of an answer."""
        place = urlsplit(path).path.removeprefix("/api/workspace")
        self.requests.append((method, place, body))
        if not place:
            return 200, self.workspace
        if place == STAGES:
            return 200, {"results": self.stages, **self.page}
        for each in self.stages:
            if isinstance(each, dict) and place == f"{STAGES}/{each.get('id')}":
                if method == "PATCH":
                    each.update(body)
                    each.update(self.patched)
                return 200, each
        return self.none, {"status": self.none, "message": "No opportunity stage has this id."}


@contextmanager
def lying(ruddr: LyingRuddr) -> Iterator[LyingRuddr]:
    """Let it answer on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = ruddr.answer(self.command, self.path, json.loads(sent) if sent else None)
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **ruddr.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = _answer  # noqa: N815 - what the library calls

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    ruddr.base_url = f"http://127.0.0.1:{server.server_port}/api/workspace"
    try:
        yield ruddr
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
