"""What the fuzzer must know beyond the contract; loaded by schemathesis.toml.

The contract cannot say which pipelines and cursors exist, nor that the two cursors exclude
each other, so a request that is valid by its schemas may still be answered with 400.
"""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from prefect_ruddr.sandbox.sample import sample_workspace

WORKSPACE = sample_workspace(seed=1)
STAGE_IDS = {stage["id"] for stage in WORKSPACE.stages}
PIPELINE_IDS = {pipeline["id"] for pipeline in WORKSPACE.pipelines}


@schemathesis.hook
def filter_failure(
    context: HookContext, failure: Failure, case: Case[Any], response: Response
) -> bool:
    """Keep every failure but a 400 that a rule of the workspace asks for."""
    refused = isinstance(failure, RejectedPositiveData) and response.status_code == 400
    return not (refused and breaks_a_rule_of_the_workspace(case))


def breaks_a_rule_of_the_workspace(case: Case[Any]) -> bool:
    query, body = case.query or {}, case.body
    cursors = [query[name] for name in ("startingAfter", "endingBefore") if name in query]
    if len(cursors) == 2 or any(cursor.lower() not in STAGE_IDS for cursor in cursors):
        return True
    pipeline = body.get("opportunityPipelineId") if isinstance(body, dict) else None
    return isinstance(pipeline, str) and pipeline.lower() not in PIPELINE_IDS
