"""The example's warehouse: two believable years of deals, the same ones each time."""

from __future__ import annotations

import importlib.util
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from prefect_ruddr.recalibration.result import Backtest, Recalibration
from prefect_ruddr.sandbox.sample import sample_workspace
from prefect_ruddr.stages.stage import Stage
from recalibration.histories import NOW, Row, recalibration

EXAMPLE = Path(__file__).parents[2] / "examples" / "warehouse.py"


@cache
def example() -> ModuleType:
    """Load the example."""
    spec = importlib.util.spec_from_file_location("warehouse", EXAMPLE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stages() -> list[Stage]:
    """Return the stages of the sandbox's sample."""
    return [
        Stage.model_validate(
            {
                "id": one["id"],
                "name": one["name"],
                "description": one["description"],
                "probability": float(one["probability"]),
                "status_id": one["statusId"],
                "is_active": one["isActive"],
                "opportunity_pipeline_id": one["opportunityPipelineId"],
                "created_at": one["createdAt"],
            }
        )
        for one in sample_workspace(0).stages
    ]


def history(path: Path, **options: Any) -> list[Row]:
    """Make a warehouse and ask it for its history."""
    example().make_warehouse(path, stages(), NOW, **options)
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(example().QUERY)]


def found(path: Path) -> Recalibration:
    """Evaluate the example's warehouse."""
    return recalibration(history(path), stages())


def test_the_same_seed_makes_the_same_deals(tmp_path: Path) -> None:
    """So that the story that the example tells is the same each time."""
    assert history(tmp_path / "one.db") == history(tmp_path / "two.db")
    assert history(tmp_path / "three.db", seed=4) != history(tmp_path / "four.db")


def test_some_stages_change_some_agree_and_some_are_left_alone(tmp_path: Path) -> None:
    """In one pipeline promises were too high; in another there are few deals."""
    decisions = [one.decision for one in found(tmp_path / "deals.db").stages]
    assert {"changed", "agrees", "too_few", "inactive", "fixed"} == set(decisions)


def test_the_history_is_believable(tmp_path: Path) -> None:
    """A thousand deals in two years; some skip stages, go back, are re-opened, are never closed."""
    result = found(tmp_path / "deals.db")
    assert 900 < result.deals < 1200
    assert result.reopened > 0
    assert "better" in [test.verdict for test in result.backtests if isinstance(test, Backtest)]
    assert sum(one.open for one in result.stages) > 100
