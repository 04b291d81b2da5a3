"""Ids to write into files, and what reading them comes to."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_ruddr import InvalidStageUpdates, SourceRow, StageUpdate
from prefect_ruddr.sources.files import read_source

A = "a5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19"
B = "0c6d4e1f-5a53-4b0e-9a43-3d0f6c1f2b77"
C = "7d0a6c2e-93f1-4c58-8a5e-1b2f4d6e8a90"
PIPELINE = "b9c85ac3-1a1d-4f31-a0c5-6e7d3d8ee0b2"


def asked(rows: list[SourceRow]) -> list[Any]:
    """Return what rows ask for, in plain JSON types; the rows have to be right."""
    assert [row.errors for row in rows] == [()] * len(rows)
    return [
        {"id": str(row.update.id), **row.update.fields}
        if isinstance(row.update, StageUpdate)
        else row.update
        for row in rows
    ]


def errors_in(source: Any, **options: Any) -> list[str]:
    """Return everything that is wrong with a source."""
    with pytest.raises(InvalidStageUpdates) as raised:
        read_source(source, **options)
    return list(raised.value.errors)
