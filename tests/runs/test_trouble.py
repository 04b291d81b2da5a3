"""Ruddr refuses, stumbles or falls silent: every update still has a true outcome."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import pytest
from pydantic import SecretStr

from prefect_ruddr import RuddrCredentials, StageUpdatesFailed, apply_stage_updates
from prefect_ruddr.api.answers import ATTEMPTS
from prefect_ruddr.runs import applying
from prefect_ruddr.sandbox import RecordedRequest, Sandbox

from .conftest import OnRequest
from .records import eventually, logs, methods, patches, run
from .updates import updates_of

ENDINGS = pytest.mark.parametrize(
    ("status", "advice"),
    [
        pytest.param(401, "Check the API key", id="401"),
        pytest.param(403, "administrator to enable it", id="403"),
        pytest.param(423, "administrator to enable API access", id="423"),
    ],
)


@pytest.fixture
def three_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than three steps are under way at a time."""
    monkeypatch.setattr(applying, "CONCURRENCY", 3)


@ENDINGS
@pytest.mark.usefixtures("three_at_once")
def test_an_answer_that_ends_the_run_stops_it_after_the_requests_in_flight(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    on_request: OnRequest,
    status: int,
    advice: str,
) -> None:
    """From the seventh PATCH on nothing works: no more than are under way are still sent."""
    sent = []

    def refuse(request: RecordedRequest) -> None:
        if request.method == "PATCH":
            sent.append(request)
            if len(sent) > 6:
                sandbox.fail_next(status=status, method="PATCH", path=request.path)

    on_request(refuse)
    updates = updates_of(sandbox)
    ended = run(apply_stage_updates, ruddr_credentials, updates)

    counts = ended.report.counts
    assert ended.state.is_failed()
    assert sum(counts.values()) == len(updates)
    assert counts["updated"] == 6
    assert 1 <= counts["failed"] <= 3
    assert counts["not_attempted"] == len(updates) - 6 - counts["failed"]
    assert methods(sandbox)["PATCH"] == 6 + counts["failed"]
    untouched = next(o for o in ended.report.outcomes if o.outcome == "not_attempted")
    assert (untouched.error or "").startswith("the run was stopped: ")
    assert advice in (untouched.error or "")
    held = {s["id"]: s["description"] for s in sandbox.stages}
    for outcome, update in zip(ended.report.outcomes, updates, strict=True):
        assert (held[update["id"]] == update["description"]) == (outcome.outcome == "updated")


@ENDINGS
def test_an_answer_that_ends_the_run_while_reading_leaves_nothing_attempted(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, status: int, advice: str
) -> None:
    """The run is Failed, and every update says why."""
    sandbox.fail_next(status=status)
    ended = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox, 5))
    assert ended.state.is_failed()
    assert ended.outcomes == ["not_attempted"] * 5
    for outcome in ended.report.outcomes:
        assert f"HTTP {status}" in (outcome.error or "")
        assert advice in (outcome.error or "")
    assert methods(sandbox) == {"GET": 1}


def test_the_account_of_a_revoked_key_is_whole_and_travels(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The error with its report survives pickling, as another process would get it."""
    sandbox.revoke_key()
    error = run(apply_stage_updates, ruddr_credentials, updates_of(sandbox)).result
    assert isinstance(error, StageUpdatesFailed)
    assert str(error).startswith("18 not attempted: HTTP 401: ")
    for arrived in (
        pickle.loads(pickle.dumps(error)),  # noqa: S301
        cloudpickle.loads(cloudpickle.dumps(error)),
    ):
        assert str(arrived) == str(error)
        assert arrived.report == error.report
    assert sandbox.api_key not in repr(error.report)


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"drop": True}, id="dropped"),
        pytest.param({"status": 502, "body": "<title>Bad gateway</title>"}, id="502"),
        pytest.param({"cut": 20, "status": 200, "body": {}}, id="cut"),
    ],
)
@pytest.mark.usefixtures("short_waits")
def test_a_lost_answer_is_followed_by_reading_the_stage_back(
    sandbox: Sandbox,
    ruddr_credentials: RuddrCredentials,
    fault: dict[str, Any],
    carried_out: bool,
) -> None:
    """The outcome says what is so, not what was answered."""
    update = updates_of(sandbox, 1)[0]
    before = sandbox.stage(update["id"])
    sandbox.fail_next(ATTEMPTS, method="PATCH", carried_out=carried_out, **fault)

    (outcome,) = run(apply_stage_updates, ruddr_credentials, [update]).report.outcomes

    held = sandbox.stage(update["id"])["description"]
    assert outcome.attempts == len(patches(sandbox))
    if carried_out:
        assert held == update["description"]
        assert outcome.outcome == "updated"
        assert (outcome.error or "").endswith("read back: it had been carried out")
    else:
        assert held == before["description"]
        assert outcome.outcome == "failed"
        assert "read back: it had not been carried out when it was read" in (outcome.error or "")
        assert "may have been" not in (outcome.error or "")
        assert outcome.written is None


@pytest.mark.usefixtures("short_waits")
def test_a_doubt_that_reading_back_cannot_settle_stays_one(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Where the stage cannot be read either, the outcome says that it may have been written."""
    updates = updates_of(sandbox, 2)  # two are read by the page, one would be read by its id
    sandbox.fail_next(ATTEMPTS, path=updates[0]["id"], method="PATCH", drop=True)
    sandbox.fail_next(ATTEMPTS, path=updates[0]["id"], method="GET", drop=True)
    doubtful, sure = run(apply_stage_updates, ruddr_credentials, updates).report.outcomes
    assert doubtful.outcome == "failed"
    assert "The change may have been carried out" in (doubtful.error or "")
    assert doubtful.retryable
    assert sure.outcome == "updated"


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
def test_a_lost_answer_about_what_answers_leave_out_stays_in_doubt(carried_out: bool) -> None:
    """Where Ruddr tells no pipeline, reading back shows nothing of a move, and none is claimed."""
    with Sandbox(rate=None, omit_pipeline=True) as sandbox:
        key = RuddrCredentials(api_key=SecretStr(sandbox.api_key), base_url=sandbox.base_url)
        stage = next(s for s in sandbox.stages if s["name"] == "Discovery")
        update = {"id": stage["id"], "opportunityPipelineId": sandbox.pipelines[1]["id"]}
        sandbox.fail_next(ATTEMPTS, method="PATCH", drop=True, carried_out=carried_out)
        (outcome,) = run(apply_stage_updates, key, [update]).report.outcomes
        assert outcome.outcome == "failed"
        assert "The change may have been carried out" in (outcome.error or "")


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("status", [401, 409, 429])
def test_a_refusal_after_a_lost_answer_does_not_hide_what_was_written(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, status: int
) -> None:
    """The first attempt was carried out and its answer lost; what came then is read back too."""
    update = updates_of(sandbox, 1)[0]
    sandbox.fail_next(method="PATCH", drop=True, carried_out=True)
    sandbox.fail_next(ATTEMPTS - 1, method="PATCH", status=status)
    (outcome,) = run(apply_stage_updates, ruddr_credentials, [update]).report.outcomes
    assert sandbox.stage(update["id"])["description"] == update["description"]
    assert outcome.outcome == "updated"
    assert (outcome.error or "").endswith("read back: it had been carried out")


@pytest.mark.parametrize(
    ("replaced", "says"),
    [
        pytest.param({"probability": 0.3}, "probability is 0.3, not 0.37", id="another value"),
        pytest.param({"name": "Renamed"}, None, id="a field that was not sent"),
    ],
)
def test_a_confirmation_is_held_against_what_was_sent(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, replaced: dict[str, Any], says: str
) -> None:
    """Ruddr says 200, but its stage holds something else: that is a failure."""
    stage = sandbox.stages[0]
    sandbox.fail_next(method="PATCH", replace=replaced)
    updates = [{"id": stage["id"], "probability": 0.37}]
    (outcome,) = run(apply_stage_updates, ruddr_credentials, updates).report.outcomes
    if says:
        assert outcome.outcome == "failed"
        assert outcome.error == f"{stage['name']}: Ruddr confirmed the change, but {says}"
    else:
        assert outcome.outcome == "updated"


@pytest.mark.usefixtures("short_waits")
def test_retries_are_counted_and_logged(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """Three 503 and then an answer: four attempts, three warnings in the run's log."""
    update = updates_of(sandbox, 1)[0]
    sandbox.fail_next(3, method="PATCH", status=503)
    ended = run(apply_stage_updates, ruddr_credentials, [update])
    (outcome,) = ended.report.outcomes
    assert (outcome.outcome, outcome.attempts) == ("updated", 4)
    warnings = eventually(
        lambda: [line for line in logs(ended.flow_run_id) if "Attempt" in line["message"]],
        lambda found: len(found) >= 3,
    )
    assert sorted(line["message"].split(" failed")[0] for line in warnings) == [
        "Attempt 1 of 5",
        "Attempt 2 of 5",
        "Attempt 3 of 5",
    ]


@pytest.mark.usefixtures("short_waits")
def test_what_may_succeed_later_can_be_sent_again(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """`report.retryable()` is the next run's input, and leaves out what was refused for good."""
    updates = updates_of(sandbox, 4)
    ids = [update["id"] for update in updates]
    sandbox.fail_next(ATTEMPTS, method="PATCH", path=ids[1], status=503)
    sandbox.fail_next(1, method="PATCH", path=ids[2], status=409)

    ended = run(apply_stage_updates, ruddr_credentials, updates)

    assert ended.outcomes == ["updated", "failed", "failed", "updated"]
    assert [outcome.attempts for outcome in ended.report.outcomes] == [1, ATTEMPTS, 1, 1]
    again = ended.report.retryable()
    assert [str(update.id) for update in again] == [ids[1]]
    assert run(apply_stage_updates, ruddr_credentials, again).state.is_completed()
    assert sandbox.stage(ids[1])["description"] == updates[1]["description"]


def test_one_refused_stage_does_not_keep_the_others(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A 409 is about one stage: all others are written."""
    updates = updates_of(sandbox)
    sandbox.make_read_only(updates[4]["id"])
    report = run(apply_stage_updates, ruddr_credentials, updates).report
    assert report.counts["updated"] == 17
    assert report.outcomes[4].outcome == "failed"
    assert "HTTP 409: This opportunity stage is read-only." in (report.outcomes[4].error or "")
