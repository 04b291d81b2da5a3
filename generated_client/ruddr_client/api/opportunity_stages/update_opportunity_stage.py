from http import HTTPStatus
from typing import Any
from urllib.parse import quote
from uuid import UUID

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.opportunity_stage import OpportunityStage
from ...models.opportunity_stage_update import OpportunityStageUpdate
from ...types import Response


def _get_kwargs(
    id: UUID,
    *,
    body: OpportunityStageUpdate,
) -> dict[str, Any]:
    headers: dict[str, Any] = {}

    _kwargs: dict[str, Any] = {
        "method": "patch",
        "url": "/workspace/opportunity-stages/{id}".format(
            id=quote(str(id), safe=""),
        ),
    }

    _kwargs["json"] = body.to_dict()

    headers["Content-Type"] = "application/json"

    _kwargs["headers"] = headers
    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | OpportunityStage | None:
    if response.status_code == 200:
        response_200 = OpportunityStage.from_dict(response.json())

        return response_200

    if response.status_code == 400:
        response_400 = Error.from_dict(response.json())

        return response_400

    if response.status_code == 401:
        response_401 = Error.from_dict(response.json())

        return response_401

    if response.status_code == 403:
        response_403 = Error.from_dict(response.json())

        return response_403

    if response.status_code == 404:
        response_404 = Error.from_dict(response.json())

        return response_404

    if response.status_code == 405:
        response_405 = Error.from_dict(response.json())

        return response_405

    if response.status_code == 409:
        response_409 = Error.from_dict(response.json())

        return response_409

    if response.status_code == 423:
        response_423 = Error.from_dict(response.json())

        return response_423

    if response.status_code == 429:
        response_429 = Error.from_dict(response.json())

        return response_429

    if response.status_code == 500:
        response_500 = Error.from_dict(response.json())

        return response_500

    if response.status_code == 502:
        response_502 = Error.from_dict(response.json())

        return response_502

    if response.status_code == 503:
        response_503 = Error.from_dict(response.json())

        return response_503

    if response.status_code == 504:
        response_504 = Error.from_dict(response.json())

        return response_504

    if client.raise_on_unexpected_status:
        raise errors.UnexpectedStatus(response.status_code, response.content)
    else:
        return None


def _build_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Response[Error | OpportunityStage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    id: UUID,
    *,
    client: AuthenticatedClient | Client,
    body: OpportunityStageUpdate,
) -> Response[Error | OpportunityStage]:
    """Change a stage

     Sets the fields that are in the body and leaves every other one alone; the answer
    is the whole stage after the change. Values are absolute, so sending the same body
    twice ends in the same state. There is no version or ETag: a change somebody else
    made in between can only be noticed by reading first.

    Args:
        id (UUID):
        body (OpportunityStageUpdate): The fields to set. A field that is absent keeps its value.
            `null` clears, and only
            `description` may be cleared; a description of white space alone is stored as null.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | OpportunityStage]
    """

    kwargs = _get_kwargs(
        id=id,
        body=body,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    id: UUID,
    *,
    client: AuthenticatedClient | Client,
    body: OpportunityStageUpdate,
) -> Error | OpportunityStage | None:
    """Change a stage

     Sets the fields that are in the body and leaves every other one alone; the answer
    is the whole stage after the change. Values are absolute, so sending the same body
    twice ends in the same state. There is no version or ETag: a change somebody else
    made in between can only be noticed by reading first.

    Args:
        id (UUID):
        body (OpportunityStageUpdate): The fields to set. A field that is absent keeps its value.
            `null` clears, and only
            `description` may be cleared; a description of white space alone is stored as null.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | OpportunityStage
    """

    return sync_detailed(
        id=id,
        client=client,
        body=body,
    ).parsed


async def asyncio_detailed(
    id: UUID,
    *,
    client: AuthenticatedClient | Client,
    body: OpportunityStageUpdate,
) -> Response[Error | OpportunityStage]:
    """Change a stage

     Sets the fields that are in the body and leaves every other one alone; the answer
    is the whole stage after the change. Values are absolute, so sending the same body
    twice ends in the same state. There is no version or ETag: a change somebody else
    made in between can only be noticed by reading first.

    Args:
        id (UUID):
        body (OpportunityStageUpdate): The fields to set. A field that is absent keeps its value.
            `null` clears, and only
            `description` may be cleared; a description of white space alone is stored as null.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | OpportunityStage]
    """

    kwargs = _get_kwargs(
        id=id,
        body=body,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    id: UUID,
    *,
    client: AuthenticatedClient | Client,
    body: OpportunityStageUpdate,
) -> Error | OpportunityStage | None:
    """Change a stage

     Sets the fields that are in the body and leaves every other one alone; the answer
    is the whole stage after the change. Values are absolute, so sending the same body
    twice ends in the same state. There is no version or ETag: a change somebody else
    made in between can only be noticed by reading first.

    Args:
        id (UUID):
        body (OpportunityStageUpdate): The fields to set. A field that is absent keeps its value.
            `null` clears, and only
            `description` may be cleared; a description of white space alone is stored as null.

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | OpportunityStage
    """

    return (
        await asyncio_detailed(
            id=id,
            client=client,
            body=body,
        )
    ).parsed
