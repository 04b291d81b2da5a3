"""Finds what flow runs planned and wrote, from the id of one of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterParentTaskRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound

from prefect_ruddr.errors import PlanNotFound, RunNotEnded
from prefect_ruddr.prefect_api import PAGE, all_pages
from prefect_ruddr.records.artifacts import artifacts_of
from prefect_ruddr.records.liveness import is_over
from prefect_ruddr.records.outcome_table import OUTCOMES_KEY, stages_written
from prefect_ruddr.records.plan_table import PLAN_KEY, is_dry_run, published_plan
from prefect_ruddr.stages.plan import StagePlan, merged
from prefect_ruddr.texts import listed, shown


class Applied(NamedTuple):
    """What some flow runs wrote.

    Attributes:
        plan: The changes, joined in the order in which they were made.
        name: What the flow run is called whose id was given.
    """

    plan: StagePlan
    name: str


def load_applied(flow_run_id: UUID) -> Applied:
    """Load what a flow run wrote, or may have written.

    The id is that of a run that applied stage updates, or of any flow run above such runs: then
    all of them count, in order. Where Prefect tried the flow above again, each attempt has runs of
    its own, and the id of one stands for all attempts. Changes that a run itself reported as not
    written are left out. Of a plan that a run was killed over, and could not report on, all are
    taken.

    Args:
        flow_run_id: The flow run.

    Raises:
        PlanNotFound: When Prefect knows no plan of such a run that was to be written, or a table
            is not as it was published.
        RunNotEnded: When one of the runs may still be writing.
    """
    with get_client(sync_client=True) as client:
        given = _read(client, flow_run_id)
        runs = {run.id: run for run in _with_attempts_and_children(client, given)}
        artifacts = artifacts_of(client, runs, [PLAN_KEY, OUTCOMES_KEY])
    plans = [each for each in artifacts if each.key == PLAN_KEY and not is_dry_run(each)]
    if not plans:
        raise PlanNotFound(_no_plan(given, runs.values(), artifacts))
    for run_id in {given.id, *(plan.flow_run_id for plan in plans)}:
        if run_id and not is_over(runs[run_id], [p for p in plans if p.flow_run_id == run_id]):
            raise RunNotEnded(_not_ended(runs[run_id]))
    reports = [each for each in artifacts if each.key == OUTCOMES_KEY]
    return Applied(merged(_as_reported(plans, reports)), given.name)


def load_dry_run(flow_run_id: UUID) -> Applied:
    """Load the plan that a dry run published, to be carried out later.

    Args:
        flow_run_id: The flow run.

    Raises:
        PlanNotFound: When Prefect knows no plan of a dry run there, or more than one, or its
            table is not as it was published.
    """
    with get_client(sync_client=True) as client:
        given = _read(client, flow_run_id)
        runs = {run.id: run for run in _with_attempts_and_children(client, given)}
        plans = [each for each in artifacts_of(client, runs, [PLAN_KEY]) if is_dry_run(each)]
    if not plans:
        raise PlanNotFound(
            f"flow run {given.name} ({given.id}) left no plan of a dry run: give the id of a run"
            " with dry_run=True"
        )
    ids = list(dict.fromkeys(str(each.flow_run_id) for each in plans))
    if len(ids) > 1:
        raise PlanNotFound(
            f"flow run {given.name} ({given.id}) left the plans of {len(ids)} dry runs: give the"
            f" id of one of them: {listed(ids)}"
        )
    return Applied(published_plan(plans[-1]), given.name)


def load_wanted(flow_run_id: UUID) -> Applied:
    """Load what a flow run wanted to write, whether or not it could.

    Args:
        flow_run_id: The flow run, or one above it. Where it was a dry run, that counts.

    Raises:
        PlanNotFound: When Prefect knows no plan of it, or a table is not as it was published.
    """
    with get_client(sync_client=True) as client:
        given = _read(client, flow_run_id)
        runs = {run.id: run for run in _with_attempts_and_children(client, given)}
        found = artifacts_of(client, runs, [PLAN_KEY])
    plans = [each for each in found if not is_dry_run(each)] or found
    if not plans:
        raise PlanNotFound(_no_plan(given, runs.values(), found))
    return Applied(merged(published_plan(each) for each in plans), given.name)


def load_wanted_by_deployment(deployment: str) -> Applied:
    """Load what the last run of a deployment wanted that had anything to change.

    A run that found everything as it wanted it says by that what the one before it said.

    Args:
        deployment: The flow's name and the deployment's, with a slash between them.

    Raises:
        PlanNotFound: When there is no such deployment, or none of its latest runs had anything
            to change.
    """
    with get_client(sync_client=True) as client:
        try:
            deployment_id = client.read_deployment_by_name(deployment).id
        except (ObjectNotFound, ValueError):
            raise PlanNotFound(
                f"Prefect knows no deployment {shown(deployment)}: give the flow's name and the"
                " deployment's, with a slash between them"
            ) from None
        of_it = FlowRunFilterDeploymentId(any_=[deployment_id])
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=of_it),
            sort=FlowRunSort.START_TIME_DESC,
            limit=PAGE,
        )
        started = [run for run in runs if run.start_time]
        plans = artifacts_of(client, [run.id for run in started], [PLAN_KEY]) if started else []
    written = {each.flow_run_id for each in plans if not is_dry_run(each)}
    for run in started:
        if run.id in written and (wanted := load_wanted(run.id)).plan.changes:
            return wanted
    raise PlanNotFound(
        f"none of the last {len(started)} runs of deployment {deployment} had anything to change,"
        " so what they wanted is not known: give path_or_url"
    )


def _read(client: SyncPrefectClient, flow_run_id: UUID) -> FlowRun:
    try:
        return client.read_flow_run(flow_run_id)
    except ObjectNotFound:
        raise PlanNotFound(
            f"flow run {flow_run_id} left no plan that was to be written: give the id of a run that"
            " applied stage updates, or of a flow run above it; this Prefect knows no such run"
        ) from None


def _with_attempts_and_children(client: SyncPrefectClient, given: FlowRun) -> list[FlowRun]:
    """Return a run, the runs of other attempts at the same call of it, and all below them."""
    runs = [given]
    if given.parent_task_run_id:
        call = FlowRunFilterParentTaskRunId(any_=[given.parent_task_run_id])
        runs = _all(client, FlowRunFilter(parent_task_run_id=call))
    level = runs
    while level:
        parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in level])
        level = _all(client, FlowRunFilter(parent_flow_run_id=parents))
        runs = runs + level
    return runs


def _all(client: SyncPrefectClient, wanted: FlowRunFilter) -> list[FlowRun]:
    return all_pages(
        lambda offset: client.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=offset)
    )


def _no_plan(given: FlowRun, runs: Iterable[FlowRun], artifacts: Iterable[Artifact]) -> str:
    where = f"flow run {given.name} ({given.id}) left no plan that was to be written"
    if any(each.key == PLAN_KEY for each in artifacts):
        return f"{where}: give the id of a run that was not a dry run"
    below = [f"{run.name} ({run.id})" for run in runs if run.id != given.id]
    if below:
        return f"{where}, nor did the runs below it: {listed(below)}"
    return (
        f"{where}: give the id of a run of apply-stage-updates, apply-stage-file or"
        " apply-stage-plan, of an undo, or of a flow run above one of them"
    )


def _not_ended(run: FlowRun) -> str:
    state = run.state.name if run.state else "without a state"
    return (
        f"flow run {run.name} ({run.id}) has not ended, it is {state}: wait for its end or cancel"
        f" it; where its process is gone, end it with: prefect flow-run cancel {run.id}"
    )


def _as_reported(plans: Sequence[Artifact], reports: Iterable[Artifact]) -> list[StagePlan]:
    """Return the plans without the changes that are reported as not written."""
    written: dict[tuple[UUID | None, str], list[set[str]]] = defaultdict(list)
    for report in reports:
        digest, stage_ids = stages_written(report)
        written[report.flow_run_id, digest].append(stage_ids)
    read = [(artifact.flow_run_id, published_plan(artifact)) for artifact in plans]
    planned = Counter((run_id, plan.digest) for run_id, plan in read)
    kept = []
    for run_id, plan in read:
        reported = written[run_id, plan.digest]
        # An attempt that was killed left a plan and no report: then all of it may be written.
        whole = len(reported) < planned[run_id, plan.digest]
        kept.append(plan if whole else _only(plan, set().union(*reported)))
    return kept


def _only(plan: StagePlan, stage_ids: Set[str]) -> StagePlan:
    kept = tuple(change for change in plan.changes if str(change.stage_id) in stage_ids)
    return plan.model_copy(update={"changes": kept})
