"""Where a workspace can be and what a key can look like, and those that the environment names."""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from prefect_ruddr.api.connection import SHORTEST_SECRET, Connection, names_a_host
from prefect_ruddr.errors import InvalidCredentials

DEFAULT_BASE_URL = "https://www.ruddr.io/api/workspace"
API_KEY_VARIABLE = "RUDDR_API_KEY"
BASE_URL_VARIABLE = "RUDDR_BASE_URL"


def from_environment() -> tuple[SecretStr, str]:
    """Return the key in `RUDDR_API_KEY` and the URL in `RUDDR_BASE_URL`, neither of them judged.

    Raises:
        InvalidCredentials: When `RUDDR_API_KEY` is not set.
    """
    if API_KEY_VARIABLE not in os.environ:
        raise InvalidCredentials(
            f"no credentials: set {API_KEY_VARIABLE}, or give a Ruddr Credentials block"
        )
    return (
        SecretStr(os.environ[API_KEY_VARIABLE]),
        os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL,
    )


def environment_connection() -> Connection:
    """Return the workspace that the environment names, judged as the block judges it.

    Raises:
        InvalidCredentials: When there is no key, or the key or the URL cannot be right.
    """
    api_key, base_url = from_environment()
    problem = problem_of_key(api_key)
    if problem is not None:
        raise InvalidCredentials(f"{API_KEY_VARIABLE} {problem}")
    problem = problem_of_url(base_url.strip(), api_key)
    if problem is not None:
        raise InvalidCredentials(f"{BASE_URL_VARIABLE} {problem}")
    return Connection(base_url=in_one_form(base_url.strip()), api_key=api_key)


def problem_of_key(api_key: Any) -> str | None:
    """Say why a key cannot be one, showing nothing of it."""
    key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    if not isinstance(key, str):
        return "must be a text"
    if not key:
        return "is empty: paste the workspace's API key"
    if not re.fullmatch(r"[!-~]+", key):
        return "has white space, a line break or characters that are not ASCII: paste the key alone"
    return None


def problem_of_url(base_url: str, api_key: SecretStr | None) -> str | None:
    """Say why it is not safe to send a key to a URL, showing no more of it than its host."""
    key = api_key.get_secret_value() if api_key is not None else ""
    if len(key) >= SHORTEST_SECRET and key.lower() in base_url.lower():
        return f"holds the API key: it must be an address such as {DEFAULT_BASE_URL}"
    # Parsers disagree on these, and the one that sends the key is not the one that judges.
    if " " in base_url or "\\" in base_url or not base_url.isprintable():
        return "is not a URL: it has white space or a backslash in it"
    try:
        url = urlsplit(base_url)
        _ = url.port
    except ValueError:
        return "is not a URL: its host or its port cannot be read"
    return _problem_of_parts(url, url.hostname or "")


def _problem_of_parts(url: SplitResult, host: str) -> str | None:
    if url.username is not None or url.query or url.fragment:
        return "must hold no user name, query or fragment"
    if url.scheme not in {"https", "http"} or not host:
        return f"must be an https address such as {DEFAULT_BASE_URL}"
    if url.scheme == "http" and not _is_loopback(host):
        return (
            f"would send the key unencrypted to {host}: use https"
            " (plain http is for a sandbox on a loopback host)"
        )
    if not names_a_host(url.geturl()):
        return f"is not a URL: {host!r} cannot be the name of a host"
    if not url.path.rstrip("/").endswith("/workspace"):
        return f"must end in /workspace, as {DEFAULT_BASE_URL} does"
    return None


def in_one_form(base_url: str) -> str:
    """Return a URL as it is written for one workspace in one way."""
    url = urlsplit(base_url)
    return f"{url.scheme}://{url.netloc}{url.path.rstrip('/')}"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
