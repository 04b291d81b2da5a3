from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx

from ... import errors
from ...client import AuthenticatedClient, Client
from ...models.error import Error
from ...models.opportunity_stage_page import OpportunityStagePage
from ...types import UNSET, Response, Unset


def _get_kwargs(
    *,
    starting_after: UUID | Unset = UNSET,
    ending_before: UUID | Unset = UNSET,
    limit: int | Unset = UNSET,
    name: str | Unset = UNSET,
) -> dict[str, Any]:

    params: dict[str, Any] = {}

    json_starting_after: str | Unset = UNSET
    if not isinstance(starting_after, Unset):
        json_starting_after = str(starting_after)
    params["startingAfter"] = json_starting_after

    json_ending_before: str | Unset = UNSET
    if not isinstance(ending_before, Unset):
        json_ending_before = str(ending_before)
    params["endingBefore"] = json_ending_before

    params["limit"] = limit

    params["name"] = name

    params = {k: v for k, v in params.items() if v is not UNSET and v is not None}

    _kwargs: dict[str, Any] = {
        "method": "get",
        "url": "/workspace/opportunity-stages",
        "params": params,
    }

    return _kwargs


def _parse_response(
    *, client: AuthenticatedClient | Client, response: httpx.Response
) -> Error | OpportunityStagePage | None:
    if response.status_code == 200:
        response_200 = OpportunityStagePage.from_dict(response.json())

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

    if response.status_code == 405:
        response_405 = Error.from_dict(response.json())

        return response_405

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
) -> Response[Error | OpportunityStagePage]:
    return Response(
        status_code=HTTPStatus(response.status_code),
        content=response.content,
        headers=response.headers,
        parsed=_parse_response(client=client, response=response),
    )


def sync_detailed(
    *,
    client: AuthenticatedClient | Client,
    starting_after: UUID | Unset = UNSET,
    ending_before: UUID | Unset = UNSET,
    limit: int | Unset = UNSET,
    name: str | Unset = UNSET,
) -> Response[Error | OpportunityStagePage]:
    """List stages, newest first

     One page of the workspace's stages, ordered by `createdAt` from the newest to the
    oldest. Walk forward with `startingAfter` set to the id of the last stage seen,
    while `hasMore` is true. `startingAfter` and `endingBefore` exclude each other.

    Args:
        starting_after (UUID | Unset):
        ending_before (UUID | Unset):
        limit (int | Unset):
        name (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | OpportunityStagePage]
    """

    kwargs = _get_kwargs(
        starting_after=starting_after,
        ending_before=ending_before,
        limit=limit,
        name=name,
    )

    response = client.get_httpx_client().request(
        **kwargs,
    )

    return _build_response(client=client, response=response)


def sync(
    *,
    client: AuthenticatedClient | Client,
    starting_after: UUID | Unset = UNSET,
    ending_before: UUID | Unset = UNSET,
    limit: int | Unset = UNSET,
    name: str | Unset = UNSET,
) -> Error | OpportunityStagePage | None:
    """List stages, newest first

     One page of the workspace's stages, ordered by `createdAt` from the newest to the
    oldest. Walk forward with `startingAfter` set to the id of the last stage seen,
    while `hasMore` is true. `startingAfter` and `endingBefore` exclude each other.

    Args:
        starting_after (UUID | Unset):
        ending_before (UUID | Unset):
        limit (int | Unset):
        name (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | OpportunityStagePage
    """

    return sync_detailed(
        client=client,
        starting_after=starting_after,
        ending_before=ending_before,
        limit=limit,
        name=name,
    ).parsed


async def asyncio_detailed(
    *,
    client: AuthenticatedClient | Client,
    starting_after: UUID | Unset = UNSET,
    ending_before: UUID | Unset = UNSET,
    limit: int | Unset = UNSET,
    name: str | Unset = UNSET,
) -> Response[Error | OpportunityStagePage]:
    """List stages, newest first

     One page of the workspace's stages, ordered by `createdAt` from the newest to the
    oldest. Walk forward with `startingAfter` set to the id of the last stage seen,
    while `hasMore` is true. `startingAfter` and `endingBefore` exclude each other.

    Args:
        starting_after (UUID | Unset):
        ending_before (UUID | Unset):
        limit (int | Unset):
        name (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Response[Error | OpportunityStagePage]
    """

    kwargs = _get_kwargs(
        starting_after=starting_after,
        ending_before=ending_before,
        limit=limit,
        name=name,
    )

    response = await client.get_async_httpx_client().request(**kwargs)

    return _build_response(client=client, response=response)


async def asyncio(
    *,
    client: AuthenticatedClient | Client,
    starting_after: UUID | Unset = UNSET,
    ending_before: UUID | Unset = UNSET,
    limit: int | Unset = UNSET,
    name: str | Unset = UNSET,
) -> Error | OpportunityStagePage | None:
    """List stages, newest first

     One page of the workspace's stages, ordered by `createdAt` from the newest to the
    oldest. Walk forward with `startingAfter` set to the id of the last stage seen,
    while `hasMore` is true. `startingAfter` and `endingBefore` exclude each other.

    Args:
        starting_after (UUID | Unset):
        ending_before (UUID | Unset):
        limit (int | Unset):
        name (str | Unset):

    Raises:
        errors.UnexpectedStatus: If the server returns an undocumented status code and Client.raise_on_unexpected_status is True.
        httpx.TimeoutException: If the request takes longer than Client.timeout.

    Returns:
        Error | OpportunityStagePage
    """

    return (
        await asyncio_detailed(
            client=client,
            starting_after=starting_after,
            ending_before=ending_before,
            limit=limit,
            name=name,
        )
    ).parsed
