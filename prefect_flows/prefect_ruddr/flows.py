"""The deployable flows."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from prefect import flow
from pydantic import ValidatorFunctionWrapHandler, WrapValidator

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.stages import Stage, StageUpdate, stage_update
from prefect_ruddr.tasks import update_opportunity_stage


def _as_typed(value: Any, _: ValidatorFunctionWrapHandler) -> Any:
    return value


# Validated by the flow, not by Prefect, so that the message is ours: one line, every violation.
# Not pydantic's SkipValidation: it loses the limits that the form shows and the API enforces.
UpdateAsTyped: TypeAlias = Annotated[StageUpdate, WrapValidator(_as_typed)]


@flow(name="update-opportunity-stage")
def update_opportunity_stage_flow(
    ruddr_credentials: RuddrCredentials, update: UpdateAsTyped
) -> Stage:
    """Change one stage.

    In Prefect's UI the parameters are a form with Ruddr's limits in it. The update is
    validated before any task starts; a wrong one fails the run in one line, with nothing sent.

    Args:
        ruddr_credentials: The key to the workspace, as a Ruddr Credentials block.
        update: The stage, and the fields to set; the others are left alone.

    Returns:
        The whole stage after the change, as Ruddr answered it.

    Raises:
        InvalidStageUpdates: When the update breaks a limit; nothing is sent.
        RuddrRequestError: When Ruddr refuses or does not answer, in the class that says why.
    """
    return update_opportunity_stage(ruddr_credentials, stage_update(update))
