"""The proxy that the environment names for a workspace's address."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from prefect_ruddr.errors import ConnectionFailed


class EnvironmentProxy(NamedTuple):
    """A proxy, and the variable that names it."""

    proxy: httpcore.Proxy
    variable: str


def environment_proxy(base_url: str) -> EnvironmentProxy | None:
    """Return the proxy that requests to a workspace go through, or None.

    It is the one in `HTTPS_PROXY` or else in `ALL_PROXY`, unless `NO_PROXY` names the host. An
    http address is one of this machine: a proxy would only read the key.

    Args:
        base_url: The workspace's address.

    Raises:
        ConnectionFailed: The variable does not hold the address of a proxy, or the proxy needs a
            package that is not installed.
    """
    url = urlsplit(base_url)
    if url.scheme != "https" or proxy_bypass(url.netloc):
        return None
    kind = next((kind for kind in ("https", "all") if getproxies().get(kind)), None)
    if kind is None:
        return None
    variable = _variable(f"{kind}_proxy")
    # The address may hold a password, so no message or variable of this frame shows it.
    proxy = _parsed(getproxies()[kind])
    if proxy is None:
        raise ConnectionFailed(
            f"{variable} is not the address of a proxy, such as http://proxy.example:8080",
            attempts=0,
        )
    if proxy.url.scheme.startswith(b"socks") and find_spec("socksio") is None:
        raise ConnectionFailed(
            f"{variable} names a SOCKS proxy: install httpx[socks] to use it", attempts=0
        )
    return EnvironmentProxy(proxy, variable)


def _variable(name: str) -> str:
    spellings = (name, name.upper())
    return next((n for n in spellings if os.environ.get(n)), "the system's proxy setting")


def _parsed(address: str) -> httpcore.Proxy | None:
    try:
        url = urlsplit(address if "://" in address else f"http://{address}")
        host, port = (url.hostname or "").encode("idna"), url.port
    except ValueError:
        return None
    if url.scheme not in {"http", "https", "socks5", "socks5h"} or not host:
        return None
    auth = None if url.username is None else (unquote(url.username), unquote(url.password or ""))
    return httpcore.Proxy(
        httpcore.URL(scheme=url.scheme.encode(), host=host, port=port, target=b"/"), auth=auth
    )
