"""The Prefect block that holds the key to a workspace."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import UUID

from prefect.blocks.abstract import CredentialsBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists
from pydantic import (
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from prefect_ruddr.api.address import (
    DEFAULT_BASE_URL,
    from_environment,
    in_one_form,
    problem_of_key,
    problem_of_url,
)
from prefect_ruddr.api.connection import Connection
from prefect_ruddr.errors import GlobalConcurrencyLimitError, InvalidCredentials
from prefect_ruddr.log import run_logger
from prefect_ruddr.pacing.bucket import BURST, REQUESTS_PER_SECOND, Bucket
from prefect_ruddr.pacing.prefect_limit import ensure_global_concurrency_limit
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.stage import Workspace

if TYPE_CHECKING:
    from prefect_ruddr.api.ruddr_api import RuddrApi


class RuddrCredentials(CredentialsBlock):
    """The key to a Ruddr workspace, where the workspace is, and how fast it may be asked.

    The key reaches the wire as `Authorization: Bearer …` and nothing else: no repr, log,
    artifact, result or error shows it.

    Attributes:
        api_key: A key of the workspace. It has no scopes: it reads and writes everything.
        base_url: The workspace's address; https, or plain http to a loopback host.
        timeout_seconds: How long one attempt of a request may take: more than 0, at most 600.
        requests_per_second: How fast the workspace's request budget refills; Ruddr documents
            20 for all keys and integrations of a workspace together.
        burst: How many requests the budget holds when full; Ruddr documents 60.
        global_concurrency_limit: The name of a Prefect global concurrency limit that several
            machines draw the budget from; None for a budget of each machine alone.
        pipelines: What you call the pipelines, and the id of each, as Ruddr's API has no names of
            them: rows may use them, and plans, approvals, logs and errors show them.

    Raises:
        InvalidCredentials: For a key or a URL that cannot be right, or a field that does not
            exist, before anything is sent.

    Examples:
        Load a stored block and ask whose key it is:

        ```python
        from prefect_ruddr import RuddrCredentials

        ruddr_credentials = RuddrCredentials.load("BLOCK_NAME")
        print(ruddr_credentials.verify().name)
        ```
    """

    _block_type_name: ClassVar[str] = "Ruddr Credentials"
    _block_type_slug: ClassVar[str] = "ruddr-credentials"
    _description = "The key to a Ruddr workspace, for reading and changing opportunity stages."

    model_config = ConfigDict(hide_input_in_errors=True)

    api_key: SecretStr = Field(
        title="API key", description="A key of the workspace, from Ruddr's workspace settings."
    )
    base_url: str = Field(
        default=DEFAULT_BASE_URL,
        title="Base URL",
        description="The address of the workspace API; https, or a sandbox on a loopback host.",
    )
    timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=600,
        title="Timeout",
        description="How many seconds one attempt of a request may take.",
    )
    requests_per_second: float = Field(
        default=REQUESTS_PER_SECOND,
        gt=0,
        le=1000,
        title="Requests per second",
        description="How fast the workspace's request budget refills; Ruddr documents 20.",
    )
    burst: int = Field(
        default=BURST,
        ge=1,
        le=10_000,
        title="Burst",
        description="How many requests the budget holds when full; Ruddr documents 60.",
    )
    global_concurrency_limit: str | None = Field(
        default=None,
        title="Global concurrency limit",
        description="The name of a Prefect limit that several machines draw the budget from.",
    )

    pipelines: dict[str, UUID] = Field(
        default={},
        title="Pipelines",
        description="What you call the pipelines, and the id of each; Ruddr's API has no names.",
    )

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Make a block of a mapping, as Prefect does of a block document.

        A later version of this package may have saved fields that this one does not know. They
        are passed over with a warning, unless one could be a known field that is misspelt.

        Args:
            obj: The fields by name, or a block.
            **options: As for any pydantic model.

        Raises:
            InvalidCredentials: As for the block itself.
        """
        try:
            return super().model_validate(_without_later_fields(obj, cls.model_fields), **options)
        except (InvalidCredentials, ValidationError) as error:
            refusal = error
        del obj, options  # tools that report errors show the variables of every frame
        raise refusal.with_traceback(None)

    @model_validator(mode="before")
    @classmethod
    def _fields_exist(cls, values: Any) -> Any:
        unknown = _unknown_fields(values, cls.model_fields)
        if not unknown:
            return values
        del values
        nearest = _nearest(unknown[0], cls.model_fields)
        raise InvalidCredentials(
            f"there is no field {unknown[0][:80]!r}: "
            + (f"do you mean {nearest}?" if nearest else f"use {', '.join(cls.model_fields)}")
        )

    @field_validator("api_key", mode="before")
    @classmethod
    def _api_key_can_be_sent(cls, api_key: Any) -> Any:
        problem = problem_of_key(api_key)
        if problem is None:
            return api_key
        del api_key
        raise InvalidCredentials(f"api_key {problem}")

    @field_validator("base_url")
    @classmethod
    def _base_url_is_safe(cls, base_url: str, info: ValidationInfo) -> str:
        problem = problem_of_url(base_url.strip(), info.data.get("api_key"))
        if problem is None:
            return in_one_form(base_url.strip())
        del base_url  # it may be the key, pasted into the wrong field
        raise InvalidCredentials(f"base_url {problem}")

    @classmethod
    def from_env(cls) -> Self:
        """Make credentials of `RUDDR_API_KEY` and, where it is set, `RUDDR_BASE_URL`.

        Raises:
            InvalidCredentials: When `RUDDR_API_KEY` is not set, or either cannot be right.
        """
        api_key, base_url = from_environment()
        return cls(api_key=api_key, base_url=base_url)

    @property
    def pipeline_names(self) -> PipelineNames:
        """What the pipelines are called."""
        return PipelineNames(self.pipelines)

    @property
    def block_name(self) -> str | None:
        """The name of the block that these credentials were loaded from, or None."""
        return self._block_document_name

    @property
    def writers_limit(self) -> str | None:
        """The Prefect limit by which machines take turns to write, or None for one machine."""
        limit = self.global_concurrency_limit
        return None if limit is None else f"{limit}-writers"

    def get_client(self) -> RuddrApi:
        """Return the calls of this workspace; all of a process share one pool and one budget.

        The budget is shared by all processes of this user on the machine.
        """
        # Only a process that asks Ruddr for something loads the client and the retries: 70 ms.
        from prefect_ruddr.clients import ruddr_api  # noqa: PLC0415

        return ruddr_api(
            Connection(
                base_url=self.base_url,
                api_key=self.api_key,
                timeout_seconds=self.timeout_seconds,
                requests_per_second=self.requests_per_second,
                burst=self.burst,
                global_concurrency_limit=self.global_concurrency_limit,
            )
        )

    def verify(self) -> Workspace:
        """Ask Ruddr whose key this is: one GET of the base URL.

        Returns:
            The id and the name of the workspace.

        Raises:
            Unauthorized: When the key is wrong or revoked.
            RuddrRequestError: When the request fails in any other way.
        """
        return self.get_client().workspace()

    async def averify(self) -> Workspace:
        """Async version of `verify`."""
        return await self.get_client().aworkspace()

    def ensure_global_concurrency_limit(self) -> None:
        """Create the Prefect limit named in `global_concurrency_limit`, or correct it.

        And a second one beside it, by which the machines take turns to write.
        Sends nothing to Ruddr. Call it once, before the processes start that share it; calling
        it again does no harm.

        Raises:
            GlobalConcurrencyLimitError: When the credentials name no limit.
        """
        limit, writers_limit = self.global_concurrency_limit, self.writers_limit
        if limit is None or writers_limit is None:
            raise GlobalConcurrencyLimitError(
                "the credentials name no limit: set global_concurrency_limit to a name of your"
                " choice, the same for all who share the workspace"
            )
        bucket = Bucket(self.requests_per_second, self.burst)
        ensure_global_concurrency_limit(limit, bucket)
        one_writer = GlobalConcurrencyLimitCreate(name=writers_limit, limit=1)
        with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(one_writer)

    async def aensure_global_concurrency_limit(self) -> None:
        """Async version of `ensure_global_concurrency_limit`."""
        await asyncio.to_thread(self.ensure_global_concurrency_limit)


def _unknown_fields(values: Any, known: Mapping[str, Any]) -> list[str]:
    """Return the names that are neither fields of ours nor Prefect's own."""
    if not isinstance(values, Mapping):
        return []
    names = map(str, values)
    return [n for n in names if not (n in known or n == "block_type_slug" or n.startswith("_"))]


def _nearest(name: str, known: Mapping[str, Any]) -> str | None:
    return next(iter(get_close_matches(name.lower(), known, n=1, cutoff=0.75)), None)


def _without_later_fields(values: Any, known: Mapping[str, Any]) -> Any:
    later = [n for n in _unknown_fields(values, known) if _nearest(n, known) is None]
    if not later:
        return values
    run_logger().warning(
        "The Ruddr Credentials block has fields that this version of prefect-ruddr does not know,"
        " and passes over: %s",
        ", ".join(name[:80] for name in later),
    )
    return {name: value for name, value in values.items() if name not in later}
