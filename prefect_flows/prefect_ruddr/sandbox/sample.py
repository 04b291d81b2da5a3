"""A believable workspace to start from, the same one for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from random import Random
from uuid import UUID

from prefect_ruddr.sandbox.workspace import Stage, WorkspaceData

EXAMPLE_STAGE_ID = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"
"""The stage of the vendor's documented example; it is in every sample."""

EXAMPLE_PIPELINE_ID = "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2"
"""The pipeline of the documented example."""

_EXAMPLE_CREATED_AT = datetime(2025, 2, 10, 9, 15, 42, 891_000, tzinfo=UTC)
_FIRST_CREATED_AT = datetime(2023, 3, 6, 8, 30, tzinfo=UTC)

_Row = tuple[str, float, str, bool, str | None]

_NEW_BUSINESS: tuple[_Row, ...] = (
    # The documented example comes first, so that a sample of one stage is the example.
    ("Negotiation", 0.75, "open", True, "Terms are being discussed."),
    ("Qualification", 0.1, "open", True, "Budget, need and decision maker are being found out."),
    ("Discovery", 0.25, "open", True, None),
    ("Proposal", 0.5, "open", True, "A written proposal is with the client."),
    ("Verbal Commit", 0.9, "open", True, "Agreed by word; the signature is missing."),
    ("Won", 1, "won", True, None),
    ("Lost", 0, "lost", True, None),
)
_RENEWALS: tuple[_Row, ...] = (
    ("Renewal Due", 0.7, "open", True, "The contract ends within 90 days."),
    ("Terms Sent", 0.8, "open", True, None),
    ("Price Review", 0.65, "open", False, "No longer used: now part of Terms Sent."),
    ("Renewed", 1, "won", True, None),
    ("Churned", 0, "lost", True, "The client has given notice."),
)
_PARTNER_SOURCED: tuple[_Row, ...] = (
    ("Referral Received", 0.15, "open", True, "A partner has named the client."),
    ("Joint Discovery", 0.3, "open", True, None),
    ("Joint Proposal", 0.55, "open", True, None),
    ("Negotiation", 0.725, "open", True, "Terms and the partner's share are being discussed."),
    ("Won", 1, "won", True, None),
    ("Lost", 0, "lost", True, None),
)
_PIPELINES = (
    ("New Business", _NEW_BUSINESS),
    ("Renewals", _RENEWALS),
    ("Partner-sourced", _PARTNER_SOURCED),
)


def sample_workspace(seed: int, stages: int | None = None) -> WorkspaceData:
    """Return a workspace with pipelines such as a consultancy would have.

    Args:
        seed: Decides all ids and creation times but those of the documented example.
        stages: How many, at least 1; None for three pipelines and their 18 stages. More
            pipelines, such as "New Business, Region 2", are added for as many as it takes.
    """
    if stages is not None and stages < 1:
        raise ValueError(f"the number of stages must be at least 1, not {stages}")
    random = Random(seed)  # noqa: S311 - sample data, nothing secret
    workspace = {"id": _uuid(random), "name": "Acme Consulting"}
    wanted = sum(len(rows) for _, rows in _PIPELINES) if stages is None else stages
    rows = list(islice(_rows(random), wanted))
    return WorkspaceData(
        workspace=workspace,
        pipelines=list({pipeline["id"]: pipeline for pipeline, _ in rows}.values()),
        stages=[stage for _, stage in rows],
    )


def _rows(random: Random) -> Iterator[tuple[dict[str, str], Stage]]:
    created_at = _FIRST_CREATED_AT
    for name, rows in _endless_pipelines():
        first = created_at == _FIRST_CREATED_AT
        pipeline = {"id": EXAMPLE_PIPELINE_ID if first else _uuid(random), "name": name}
        for row in rows:
            created_at += timedelta(milliseconds=random.randrange(60_000, 7_200_000))
            stage_id = EXAMPLE_STAGE_ID if first else _uuid(random)
            created = _EXAMPLE_CREATED_AT if first else created_at
            yield pipeline, _stage(stage_id, row, pipeline["id"], created)
            first = False


def _endless_pipelines() -> Iterator[tuple[str, tuple[_Row, ...]]]:
    yield from _PIPELINES
    for region in count(2):
        yield f"New Business, Region {region}", _NEW_BUSINESS


def _stage(stage_id: str, row: _Row, pipeline_id: str, created_at: datetime) -> Stage:
    name, probability, status, active, description = row
    timestamp = created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": stage_id,
        "name": name,
        "description": description,
        "probability": probability,
        "statusId": status,
        "isActive": active,
        "opportunityPipelineId": pipeline_id,
        "createdAt": timestamp,
    }


def _uuid(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))
