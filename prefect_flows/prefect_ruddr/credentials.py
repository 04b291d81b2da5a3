"""The Prefect block that holds the key to a workspace."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
from typing import TYPE_CHECKING, ClassVar, Self
from urllib.parse import urlsplit

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, SecretStr, field_validator

from prefect_ruddr.api.connection import names_a_host
from prefect_ruddr.errors import GlobalConcurrencyLimitError, InvalidCredentials
from prefect_ruddr.pacing.bucket import BURST, REQUESTS_PER_SECOND, Bucket
from prefect_ruddr.pacing.prefect_limit import ensure_global_concurrency_limit
from prefect_ruddr.stages.stage import Workspace

if TYPE_CHECKING:
    from prefect_ruddr.api.ruddr_api import RuddrApi

DEFAULT_BASE_URL = "https://www.ruddr.io/api/workspace"
API_KEY_VARIABLE = "RUDDR_API_KEY"
BASE_URL_VARIABLE = "RUDDR_BASE_URL"


class RuddrCredentials(Block):
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

    Raises:
        InvalidCredentials: For a key or a URL that cannot be right, before anything is sent.

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
    _documentation_url = "https://www.ruddr.io"  # type: ignore[assignment]  # Prefect coerces it
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

    @field_validator("api_key")
    @classmethod
    def _api_key_can_be_sent(cls, api_key: SecretStr) -> SecretStr:
        key = api_key.get_secret_value()
        if not key:
            raise InvalidCredentials("api_key is empty: paste the workspace's API key")
        if not re.fullmatch(r"[!-~]+", key):
            raise InvalidCredentials(
                "api_key has white space, a line break or characters that are not ASCII:"
                " paste the key alone"
            )
        return api_key

    @field_validator("base_url")
    @classmethod
    def _base_url_is_safe(cls, base_url: str) -> str:
        return _safe(base_url)

    @classmethod
    def from_env(cls) -> Self:
        """Make credentials of `RUDDR_API_KEY` and, where it is set, `RUDDR_BASE_URL`.

        Raises:
            InvalidCredentials: When `RUDDR_API_KEY` is not set, or either cannot be right.
        """
        key = os.environ.get(API_KEY_VARIABLE)
        if key is None:
            raise InvalidCredentials(
                f"no credentials: set {API_KEY_VARIABLE}, or give a Ruddr Credentials block"
            )
        base_url = os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL
        return cls(api_key=SecretStr(key), base_url=base_url)

    def get_client(self) -> RuddrApi:
        """Return the calls of this workspace; all of a process share one pool and one budget.

        The budget is shared by all processes of this user on the machine.
        """
        # Only a process that asks Ruddr for something pays for the client and the retries.
        from prefect_ruddr.api.connection import Connection  # noqa: PLC0415
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
        """Async twin of `verify`."""
        return await self.get_client().aworkspace()

    def ensure_global_concurrency_limit(self) -> None:
        """Create the Prefect limit named in `global_concurrency_limit`, or correct it.

        Sends nothing to Ruddr. Call it once, before the processes start that share it; calling
        it again does no harm.

        Raises:
            GlobalConcurrencyLimitError: When the credentials name no limit.
        """
        if self.global_concurrency_limit is None:
            raise GlobalConcurrencyLimitError(
                "the credentials name no limit: set global_concurrency_limit to a name of your"
                " choice, the same for all who share the workspace"
            )
        bucket = Bucket(self.requests_per_second, self.burst)
        ensure_global_concurrency_limit(self.global_concurrency_limit, bucket)

    async def aensure_global_concurrency_limit(self) -> None:
        """Async version of `ensure_global_concurrency_limit`."""
        await asyncio.to_thread(self.ensure_global_concurrency_limit)


def _safe(base_url: str) -> str:
    """Return the URL in its one form, or say why it is not safe to send a key there."""
    base_url = base_url.strip()
    # Parsers disagree on these, and the one that sends the key is not the one that judges.
    if " " in base_url or "\\" in base_url or not base_url.isprintable():
        raise InvalidCredentials("base_url is not a URL: it has white space or a backslash in it")
    try:
        url = urlsplit(base_url)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise InvalidCredentials(f"base_url is not a URL: {error}") from None
    if url.username is not None or url.query or url.fragment:
        raise InvalidCredentials("base_url must hold no user name, query or fragment")
    if url.scheme not in {"https", "http"} or not host:
        raise InvalidCredentials(
            f"base_url must be an https address such as {DEFAULT_BASE_URL}, not {base_url!r}"
        )
    if url.scheme == "http" and not _is_loopback(host):
        raise InvalidCredentials(
            f"base_url would send the key unencrypted to {host}: use https"
            " (plain http is for a sandbox on a loopback host)"
        )
    if not names_a_host(base_url):
        raise InvalidCredentials(f"base_url is not a URL: {host!r} cannot be the name of a host")
    path = url.path.rstrip("/")
    if not path.endswith("/workspace"):
        raise InvalidCredentials(
            f"base_url must end in /workspace, as {DEFAULT_BASE_URL} does, not {base_url!r}"
        )
    return f"{url.scheme}://{url.netloc}{path}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
