"""What the runs are asked for."""

from __future__ import annotations

from typing import Any

from prefect_ruddr.sandbox import Sandbox


def updates_of(sandbox: Sandbox, count: int | None = None) -> list[dict[str, Any]]:
    """Return an update of each stage's description, none like another.

    Args:
        sandbox: Where the stages are.
        count: For how many stages; None for all of them.
    """
    return [{"id": s["id"], "description": f"{s['id']}."} for s in sandbox.stages[:count]]
