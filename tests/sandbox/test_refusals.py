"""What is refused before it reaches a stage: keys, paths, methods, malformed ids."""

from __future__ import annotations

import httpx
import pytest

from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

from .conftest import EXAMPLE


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer wrong",
        "Bearer sandbox-key2",
        "Bearer  sandbox-key",
        "Bearer SANDBOX-KEY",
        "Basic sandbox-key",
        "sandbox-key",
    ],
)
def test_any_other_key_is_refused(sandbox: Sandbox, authorization: str) -> None:
    """A missing or wrong key is 401, and the answer names the scheme that is expected."""
    answer = httpx.get(sandbox.base_url, headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["status"] == 401


@pytest.mark.parametrize("path", ["", "/opportunity-stages", f"/{EXAMPLE}", "/nothing-here"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_without_a_key_every_path_is_refused(sandbox: Sandbox, method: str, path: str) -> None:
    """The key is judged before the path, the method and the body."""
    assert httpx.request(method, sandbox.base_url + path).status_code == 401


def test_the_scheme_is_case_insensitive(sandbox: Sandbox) -> None:
    """`bearer` is the same scheme as `Bearer`."""
    answer = httpx.get(sandbox.base_url, headers={"Authorization": "bearer sandbox-key"})
    assert answer.status_code == 200


def test_a_revoked_key_stops_working_at_once(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """After `revoke_key` the key that just worked is 401."""
    assert ruddr.get(EXAMPLE).status_code == 200
    sandbox.revoke_key()
    assert ruddr.get(EXAMPLE).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/opportunity-stages/",
        f"/{EXAMPLE}/",
        f"/{EXAMPLE}/history",
        "/opportunities",
        "/../workspace2",
        "/Opportunity-Stages",
    ],
)
def test_a_path_outside_the_contract_is_not_found(
    sandbox: Sandbox, ruddr: httpx.Client, path: str
) -> None:
    """Any other path is 404 in JSON, one with a slash too many included."""
    answer = ruddr.get(sandbox.base_url + path)
    assert answer.status_code == 404
    assert answer.json() == {"status": 404, "message": "There is nothing at this path."}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "", "GET"),
        ("PATCH", "", "GET"),
        ("POST", "/opportunity-stages", "GET"),
        ("OPTIONS", "/opportunity-stages", "GET"),
        ("PUT", f"/{EXAMPLE}", "GET, PATCH"),
        ("DELETE", f"/{EXAMPLE}", "GET, PATCH"),
    ],
)
def test_a_method_outside_the_contract_is_not_allowed(
    sandbox: Sandbox, ruddr: httpx.Client, method: str, path: str, allowed: str
) -> None:
    """A known path answers other methods with 405 in JSON and says which it knows."""
    answer = ruddr.request(method, sandbox.base_url + path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == allowed
    assert answer.json()["status"] == 405


def test_head_is_not_allowed_either(sandbox: Sandbox, ruddr: httpx.Client) -> None:
    """The contract has no HEAD, and the answer to one has no body."""
    answer = ruddr.head(sandbox.base_url)
    assert (answer.status_code, answer.content) == (405, b"")


@pytest.mark.parametrize(
    "stage_id",
    [
        "1",
        EXAMPLE_STAGE_ID[:-1],
        EXAMPLE_STAGE_ID.replace("-", ""),
        f"%7B{EXAMPLE_STAGE_ID}%7D",
        f"{EXAMPLE_STAGE_ID}%7D",
        f"urn:uuid:{EXAMPLE_STAGE_ID}",
        f"{EXAMPLE_STAGE_ID}%0A",
        f"{EXAMPLE_STAGE_ID}%2Fhistory",
        "%2E%2E",
        "g5f1c8d3-7e42-4b86-90d0-e3b7c6f02a19",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_malformed_id_is_refused(ruddr: httpx.Client, method: str, stage_id: str) -> None:
    """Only a hyphenated UUID is an id; anything else is 400."""
    answer = ruddr.request(method, f"opportunity-stages/{stage_id}", json={"isActive": True})
    assert answer.status_code == 400
    assert "is not a 'uuid'" in answer.json()["errors"][0]
