"""Each update ends in exactly one outcome, and the account of a run is whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any
from uuid import UUID

import cloudpickle  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr import (
    AnswerLost,
    BadRequest,
    StageChange,
    StageOutcome,
    StageReport,
    StageUpdatesFailed,
    TooManyRequests,
)
from prefect_ruddr.stages.outcome import OUTCOMES, Ledger, Outcome
from prefect_ruddr.stages.plan import FieldChange

IDS = [UUID(int=number, version=4) for number in range(1, 9)]


def change(stage_id: UUID = IDS[0]) -> StageChange:
    step = FieldChange(field="probability", before=0.1, after=0.2)
    return StageChange(stage_id=stage_id, stage_name="Negotiation", fields=(step,))


def outcome(kind: Outcome, **fields: Any) -> StageOutcome:
    return StageOutcome.of(change(), kind).model_copy(update=fields)


def report(*kinds: Outcome, dry_run: bool = False) -> StageReport:
    return StageReport(outcomes=tuple(map(outcome, kinds)), dry_run=dry_run)


@given(st.lists(st.sampled_from(OUTCOMES)))
def test_counts_add_up_to_the_input(kinds: list[Outcome]) -> None:
    """Every outcome is counted, the ones that did not occur as 0."""
    counts = report(*kinds).counts
    assert tuple(counts) == OUTCOMES
    assert sum(counts.values()) == len(kinds)


@given(st.lists(st.sampled_from([*OUTCOMES, None]), max_size=len(IDS)), st.data())
def test_a_ledger_keeps_one_line_for_each_update(
    ends: list[Outcome | None], data: st.DataObject
) -> None:
    """Whatever is settled, rejected or left open when a run ends, in input order."""
    changes = [change(stage_id) for stage_id in IDS[: len(ends)]]
    ledger = Ledger()
    settled = [
        StageOutcome.of(each, end)
        for each, end in zip(changes, ends, strict=True)
        if end and end != "rejected"
    ]
    ledger.settle(data.draw(st.permutations(settled)))
    given = (
        StageOutcome.of(each, "rejected" if end == "rejected" else "not_attempted")
        for each, end in zip(changes, ends, strict=True)
    )
    lines = ledger.close(given, "the run ended")
    assert [line.stage_id for line in lines] == [each.stage_id for each in changes]
    assert [line.outcome for line in lines] == [end or "not_attempted" for end in ends]
    still_open = [line for line, end in zip(lines, ends, strict=True) if end is None]
    assert all(line.error == "the run ended" for line in still_open)


@pytest.mark.parametrize(
    ("kinds", "dry_run", "succeeded"),
    [
        pytest.param((), False, True, id="nothing asked for"),
        pytest.param(("updated", "unchanged"), False, True, id="all in effect"),
        pytest.param(("updated", "not_attempted"), False, False, id="not attempted"),
        pytest.param(("planned", "unchanged"), True, True, id="dry run"),
        pytest.param(("planned", "rejected"), True, False, id="dry run with a bad row"),
        pytest.param(("not_attempted",), True, False, id="dry run that could not read"),
    ],
)
def test_a_run_succeeds_when_every_update_is_in_effect(
    kinds: tuple[Outcome, ...], dry_run: bool, succeeded: bool
) -> None:
    """In a dry run, when every update could be."""
    assert report(*kinds, dry_run=dry_run).succeeded == succeeded


def test_a_summary_counts_what_there_is() -> None:
    """What did not work comes first; outcomes that did not occur are not mentioned."""
    assert report("updated", "not_attempted", "updated").summary() == "1 not attempted, 2 updated"
    assert report("planned", "unchanged").summary() == "1 would change, 1 unchanged"
    assert report().summary() == "no updates"


def test_the_first_failures_are_named_and_the_others_counted() -> None:
    """A line for a notification: which update, which stage, why."""
    failed = [outcome("failed", error=f"reason {number}") for number in range(1, 5)]
    whole = StageReport(outcomes=(outcome("updated"), *failed))
    assert whole.failures(most=2) == (
        "update 2 (Negotiation): reason 1; update 3 (Negotiation): reason 2; and 2 more"
    )


def test_what_a_dry_run_would_write_is_no_failure() -> None:
    """Only the bad row is named."""
    rejected = StageOutcome(outcome="rejected", error="id: missing")
    planned = StageReport(outcomes=(outcome("planned"), rejected), dry_run=True)
    assert planned.failures() == "update 2 (no stage): id: missing"


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        pytest.param(TooManyRequests("slow down", attempts=5), True, id="429"),
        pytest.param(AnswerLost("nothing came", attempts=5), True, id="no answer"),
        pytest.param(BadRequest("no pipeline", attempts=5), False, id="400"),
        pytest.param(RuntimeError("no room on the disk"), False, id="not Ruddr's"),
    ],
)
def test_a_failure_says_how_often_it_was_sent_and_whether_to_try_again(
    error: Exception, retryable: bool
) -> None:
    """The outcome has what the error knows, on one line."""
    failed = StageOutcome.failure(change(), error)
    assert failed.outcome == "failed"
    assert failed.attempts == getattr(error, "attempts", 0)
    assert failed.retryable == retryable
    assert failed.error == str(error)


def test_retryable_updates_set_what_was_wanted() -> None:
    """They are updates again, to be given to the same flow."""
    whole = StageReport(
        outcomes=(
            outcome("updated"),
            StageOutcome.failure(change(IDS[1]), TooManyRequests("slow down")),
            StageOutcome.of(change(IDS[2]), "not_attempted"),
            StageOutcome.of(change(IDS[3]), "conflict"),
        )
    )
    assert [(update.id, update.fields) for update in whole.retryable()] == [
        (IDS[1], {"probability": 0.2}),
        (IDS[2], {"probability": 0.2}),
    ]


def test_what_cannot_be_written_is_not_retryable() -> None:
    """A move out of a pipeline that was never known has nothing to send."""
    move = FieldChange(field="opportunity_pipeline_id", before=None, after=str(IDS[1]))
    back = StageChange(stage_id=IDS[0], stage_name="Due", fields=(move,)).inverted()
    assert StageReport(outcomes=(StageOutcome.of(back, "not_attempted"),)).retryable() == []


def test_a_report_is_json_and_back() -> None:
    """It leaves a flow as a result, and whoever reads that has it whole."""
    whole = StageReport(outcomes=(outcome("updated"), outcome("failed", error="why")))
    said = json.loads(whole.model_dump_json())
    assert said["counts"] == whole.counts
    assert StageReport.model_validate_json(whole.model_dump_json()) == whole


@pytest.mark.parametrize(
    "passage",
    [
        pytest.param(lambda e: pickle.loads(pickle.dumps(e)), id="pickle"),  # noqa: S301
        pytest.param(lambda e: cloudpickle.loads(cloudpickle.dumps(e)), id="cloudpickle"),
    ],
)
def test_a_failed_run_travels_with_its_report(
    passage: Callable[[StageUpdatesFailed], StageUpdatesFailed],
) -> None:
    """Another process has the message and each outcome."""
    error = StageUpdatesFailed("1 failed: why", report("failed", "updated"))
    arrived = passage(error)
    assert str(arrived) == "1 failed: why"
    assert arrived.report == error.report
