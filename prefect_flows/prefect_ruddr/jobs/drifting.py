"""The flow that compares what is live with what was wanted, and writes nothing."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from prefect.logging import get_run_logger

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import InvalidStageUpdates
from prefect_ruddr.records.drift_table import publish_drift
from prefect_ruddr.records.events import emit_drift
from prefect_ruddr.records.history import load_wanted, load_wanted_by_deployment
from prefect_ruddr.runs.forms import bulk_flow
from prefect_ruddr.runs.intake import Row
from prefect_ruddr.runs.preparation import FromRows, Rules
from prefect_ruddr.sources.opening import SourceFormat, file_name
from prefect_ruddr.stages.drift import DriftFound, MissingStage, StageDrift
from prefect_ruddr.stages.outcome import Ledger
from prefect_ruddr.tasks import read_stage_updates


@bulk_flow("check-stage-drift")
def check_stage_drift(
    ruddr_credentials: RuddrCredentials,
    path_or_url: str | None = None,
    *,
    deployment: str | None = None,
    flow_run_id: UUID | None = None,
    fail_on_drift: bool = False,
    format: SourceFormat | None = None,  # noqa: A002 - what everybody calls it
    encoding: str = "utf-8",
    delimiter: str = ",",
) -> StageDrift:
    """Compare what is live with what was wanted, and write nothing.

    What was wanted is in a file, or in the plan of an earlier run. Where nothing differs, the run
    says so and ends. Where something does, or a stage is not there any more, it emits one event
    with counts, "ruddr.opportunity-stage.drift", for automations to react to, and publishes the
    difference as a table.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        path_or_url: The file that says what is wanted, such as stages.yaml from git, or a URL.
            Give it, or a deployment, or a flow run.
        deployment: A deployment that changes stages, as flow name and deployment name with a
            slash between them. What its last run with changes wanted is compared.
        flow_run_id: The id of a flow run that changed stages, or of one above it. What it wanted
            is compared.
        fail_on_drift: Whether the run ends as failed where something differs.
        format: What kind of file it is. Empty for what its name says.
        encoding: How a text file is encoded.
        delimiter: What separates the cells of a CSV file.

    Returns:
        What differs: of each field what is live, and what was wanted; and which stages are not
        there.

    Raises:
        DriftFound: When something differs and the check was to fail for that.
        InvalidStageUpdates: When the file is wrong, or not exactly one of file, deployment and
            flow run is given.
        SourceUnreadable: When the file cannot be read.
        PlanNotFound: When the deployment or the flow run left no plan.
        RuddrRequestError: When a request fails, in the class that says why.
    """
    if sum(map(bool, (path_or_url, deployment, flow_run_id))) != 1:
        raise InvalidStageUpdates(
            ["give one of path_or_url, deployment and flow_run_id: it says what was wanted"]
        )
    if path_or_url:
        source, names = file_name(path_or_url), dict[UUID, str]()
        rows: list[Row] = list(
            read_stage_updates(
                path_or_url,
                format=format,
                encoding=encoding,
                delimiter=delimiter,
                pipelines=ruddr_credentials.pipeline_names.ids,
            )
        )
    else:
        wanted = (
            load_wanted_by_deployment(deployment)
            if deployment
            else load_wanted(UUID(str(flow_run_id)))
        )
        source = f"flow run {wanted.name}"
        names = {change.stage_id: change.label for change in wanted.plan.changes}
        rows = [
            {"id": change.stage_id} | dict[str, Any](**change.after)
            for change in wanted.plan.changes
        ]
    preparation = FromRows(rows, Rules(on_invalid="skip", swap_names=True))
    prepared = preparation.prepare(ruddr_credentials, Ledger())
    judged = preparation.judged
    if errors := judged.told_errors(but_missing=True):
        raise InvalidStageUpdates(errors)
    drift = StageDrift(source=source, plan=prepared.plan, missing=_named(judged.missing, names))
    logger = get_run_logger()
    logger.log(logging.WARNING if drift.found else logging.INFO, "%s", drift.in_one_line())
    if drift.found:
        publish_drift(drift)
        emit_drift(drift)
        if fail_on_drift:
            raise DriftFound(drift)
    return drift


def _named(missing: Iterable[MissingStage], names: Mapping[UUID, str]) -> tuple[MissingStage, ...]:
    """Return stages that are not there with the names that the plan of a run had for them."""
    return tuple(
        each.model_copy(update={"stage_name": names.get(each.stage_id) or each.stage_name})
        if each.stage_id
        else each
        for each in missing
    )
