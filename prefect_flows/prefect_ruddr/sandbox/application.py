"""The sandbox as an ASGI application: what happens to a request, from arrival to answer."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from prefect_ruddr.sandbox.answers import Refused, error_response, json_response
from prefect_ruddr.sandbox.bucket import TokenBucket
from prefect_ruddr.sandbox.contract import LARGEST_BODY, Contract
from prefect_ruddr.sandbox.delivery import deliver
from prefect_ruddr.sandbox.faults import Fault, Faults, fault_from_json, faults_from_json
from prefect_ruddr.sandbox.recording import REDACTED, RecordedRequest, Recording
from prefect_ruddr.sandbox.workspace import Stage, Workspace

FAULTS_PATH = "/sandbox/faults"
"""Where faults are asked for: POST a fault and its `count`, or DELETE all that wait."""

FAULT_HEADER = "sandbox-fault"
"""The header with a fault, in JSON, for the request that carries it."""


class Application:
    """Answers requests as Ruddr documents, or as the faults ask for.

    A request passes, in this order: faults, the key (401), the request limit (429), the
    path (404) and method (405), parameters and body (400), the rules of the workspace
    (404, 409, 400). A request without a valid key takes nothing from the limit, because it
    belongs to no workspace; every other one does. So does one that a fault carries out,
    but not one that a fault answers on its own.

    Args:
        api_key: The key that is accepted.
        contract: What requests are judged by.
        workspace: What they read and change.
        bucket: The request limit.
        recording: Is told of every request.
        omit_pipeline: Leave `opportunityPipelineId` out of all stages in answers.
    """

    def __init__(
        self,
        *,
        api_key: str,
        contract: Contract,
        workspace: Workspace,
        bucket: TokenBucket,
        recording: Recording,
        omit_pipeline: bool = False,
    ) -> None:
        self.faults = Faults()
        self._api_key: bytes | None = api_key.encode()
        self._contract = contract
        self._workspace = workspace
        self._bucket = bucket
        self._recording = recording
        self._omit_pipeline = omit_pipeline

    def revoke_key(self) -> None:
        """Answer every further request with 401."""
        self._api_key = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receive one request and answer it, or have it fail as asked for."""
        body = await _read_body(receive)
        if body is None:
            return
        path = scope["raw_path"].decode("latin-1")
        if path == FAULTS_PATH:
            await self._control(scope["method"], body)(scope, receive, send)
            return
        if query := scope["query_string"].decode("latin-1"):
            path = f"{path}?{query}"
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        request = RecordedRequest(
            method=scope["method"],
            path=path,
            headers=headers,
            body=body,
            arrived=time.monotonic(),
        )
        authorization = headers.get("authorization", "")
        if authorization:
            headers["authorization"] = REDACTED
        self._recording.add(request)
        try:
            fault = self._fault(request)
        except ValidationError as error:
            await _answer_invalid_fault(error)(scope, receive, send)
            return
        if fault is None:
            response = self._answer(request, authorization)
            request.status = response.status_code
            await response(scope, receive, send)
            return
        real = self._answer(request, authorization) if fault.carries_out else None
        await deliver(fault, real, request, authorization)(scope, receive, send)

    def _fault(self, request: RecordedRequest) -> Fault | None:
        if text := request.headers.get(FAULT_HEADER):
            return fault_from_json(text)
        return self.faults.take(request.method, request.path)

    def _control(self, method: str, body: bytes) -> Response:
        if method == "DELETE":
            self.faults.clear()
            return Response(status_code=204)
        if method != "POST":
            return error_response(
                405, "POST a fault or DELETE all.", headers={"Allow": "DELETE, POST"}
            )
        try:
            fault, count = faults_from_json(body)
        except ValidationError as error:
            return _answer_invalid_fault(error)
        self.faults.add(fault, count)
        return Response(status_code=204)

    def _answer(self, request: RecordedRequest, authorization: str) -> Response:
        try:
            self._admit(authorization)
            return json_response(self._carry_out(request))
        except Refused as refusal:
            return refusal.response()

    def _admit(self, authorization: str) -> None:
        scheme, _, key = authorization.partition(" ")
        accepted = self._api_key is not None and hmac.compare_digest(
            key.encode("latin-1"), self._api_key
        )
        if scheme.lower() != "bearer" or not accepted:
            raise Refused(
                401,
                "The API key is missing, wrong or revoked.",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not self._bucket.take():
            raise Refused(429, "The workspace has sent too many requests; try again later.")

    def _carry_out(self, request: RecordedRequest) -> Any:
        path, _, query = request.path.partition("?")
        found = self._contract.find(path)
        if found is None:
            raise Refused(404, "There is nothing at this path.")
        resource, path_values = found
        operation = resource.operations.get(request.method)
        if operation is None:
            allowed = ", ".join(sorted(resource.operations))
            raise Refused(405, "This method is not supported here.", headers={"Allow": allowed})
        parameters = operation.read_parameters(path_values, query)
        body = operation.read_body(request.headers.get("content-type", ""), request.body)
        match operation.id:
            case "get_workspace":
                return self._workspace.about
            case "list_opportunity_stages":
                return self._page(parameters)
            case "get_opportunity_stage":
                return self._shown(self._workspace.stage(parameters["id"]))
            case "update_opportunity_stage":
                return self._shown(self._workspace.update(parameters["id"], body))
            case _:
                raise Refused(500, f"The sandbox does not know how to {operation.id}.")

    def _page(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        names = {"startingAfter": "starting_after", "endingBefore": "ending_before"}
        stages, has_more = self._workspace.page(
            **{names.get(name, name): value for name, value in parameters.items()}
        )
        return {"results": [self._shown(stage) for stage in stages], "hasMore": has_more}

    def _shown(self, stage: Stage) -> Stage:
        if not self._omit_pipeline:
            return stage
        return {name: value for name, value in stage.items() if name != "opportunityPipelineId"}


async def _read_body(receive: Receive) -> bytes | None:
    """Return the body, or one byte more of it than is allowed; None if the client has gone."""
    body = b""
    while len(body) <= LARGEST_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    return body[: LARGEST_BODY + 1]


def _answer_invalid_fault(error: ValidationError) -> Response:
    errors = [
        ".".join([*(str(step) for step in detail["loc"]), ""]) + f" {detail['msg']}"
        for detail in error.errors(include_url=False, include_input=False)
    ]
    return error_response(400, "This is not a fault the sandbox knows.", errors)
