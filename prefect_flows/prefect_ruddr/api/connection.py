"""Where a workspace is, and the key to it."""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from pydantic import SecretStr

from prefect_ruddr.pacing.bucket import BURST, REQUESTS_PER_SECOND

SHORTEST_SECRET = 8
"""Characters of a key that are masked; fewer of them give nothing away."""

MOST_CONNECTIONS = 100
"""How many requests may be under way at once in the threads of a process, and in an event loop."""


@dataclass(frozen=True)
class Connection:
    """Where a workspace is, the key to it, and how fast it may be asked.

    Attributes:
        base_url: The workspace's address, ending in `/workspace`.
        api_key: The key; only `Authorization` headers ever show it.
        timeout_seconds: How long one attempt may take, in seconds.
        requests_per_second: How fast the request budget refills.
        burst: How many requests the budget holds when full.
        global_concurrency_limit: The Prefect limit that machines share, or None.
    """

    base_url: str
    api_key: SecretStr
    timeout_seconds: float = 30.0
    requests_per_second: float = REQUESTS_PER_SECOND
    burst: int = BURST
    global_concurrency_limit: str | None = None

    @property
    def root_url(self) -> str:
        """The address that the paths of `openapi.yaml` are relative to."""
        return self.base_url.removesuffix("/workspace")

    @property
    def fingerprint(self) -> str:
        """A text that is the same for the same workspace address and key, and tells neither."""
        secret = f"{self.base_url} {self.api_key.get_secret_value()}"
        return hashlib.sha256(secret.encode()).hexdigest()[:16]

    def without_key(self, text: str) -> str:
        """Return a text in which the key is masked, in the ways that a server may echo it.

        The beginning of a key is masked too, from its first eight characters on.
        """
        key = self.api_key.get_secret_value()
        for form in {key, quote(key, safe=""), html.escape(key), json.dumps(key)[1:-1]}:
            for length in range(len(form), SHORTEST_SECRET - 1, -1):
                text = text.replace(form[:length], "[API key]")
        return text


def names_a_host(url: str) -> bool:
    """Tell whether the host in a URL can be one: for the client, and then for the resolver."""
    try:
        return bool(httpx.URL(url).raw_host.decode().encode("idna"))
    except (httpx.InvalidURL, UnicodeError):
        return False
