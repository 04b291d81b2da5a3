"""The block holds a key that can be sent, to an address where that is safe, and hides it."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from prefect import get_client
from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block
from prefect.client.schemas.actions import BlockDocumentCreate
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from prefect_ruddr import InvalidCredentials, RuddrCredentials, Unauthorized, Workspace
from prefect_ruddr.api.address import DEFAULT_BASE_URL
from prefect_ruddr.api.connection import Connection
from prefect_ruddr.sandbox import Sandbox

KEY = "rk_live_0a1b2c3d4e5f"


def credentials(base_url: str = DEFAULT_BASE_URL, api_key: str = KEY) -> RuddrCredentials:
    """Return a block of a key and an address."""
    return RuddrCredentials(api_key=SecretStr(api_key), base_url=base_url)


class TestBlockStandards(BlockStandardTestSuite):
    """What Prefect asks of every block type."""

    @pytest.fixture
    def block(self) -> type[Block]:
        """The block type under test."""
        return RuddrCredentials

    def test_has_a_documentation_url(self, block: type[Block]) -> None:
        """There is none: a link in Prefect's pages must not lead to nothing."""
        assert block._documentation_url is None

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """There is no logo: Prefect's pages would fetch it from somebody else's server."""
        assert block._logo_url is None


@pytest.mark.parametrize(
    ("base_url", "kept"),
    [
        pytest.param(DEFAULT_BASE_URL, DEFAULT_BASE_URL, id="Ruddr"),
        pytest.param(f" {DEFAULT_BASE_URL}/\n", DEFAULT_BASE_URL, id="space and slash around"),
        pytest.param("https://proxy.example:8443/x/workspace", None, id="https elsewhere"),
        pytest.param("https://bücher.example/workspace", None, id="a name beyond ASCII"),
        pytest.param("http://127.0.0.1:8000/api/workspace", None, id="IPv4 loopback"),
        pytest.param("http://127.8.9.1/api/workspace", None, id="other IPv4 loopback"),
        pytest.param("http://localhost:8000/api/workspace", None, id="localhost"),
        pytest.param("http://[::1]:8000/api/workspace", None, id="IPv6 loopback"),
    ],
)
def test_a_safe_address_is_accepted(base_url: str, kept: str | None) -> None:
    """Https anywhere, plain http to this machine; kept in one form."""
    assert credentials(base_url).base_url == (kept or base_url)


@pytest.mark.parametrize(
    ("base_url", "why"),
    [
        ("http://www.ruddr.io/api/workspace", "unencrypted to www.ruddr.io: use https"),
        ("http://localhost.evil.com/api/workspace", "unencrypted to localhost.evil.com"),
        ("http://127.0.0.1.evil.com/api/workspace", "unencrypted to 127.0.0.1.evil.com"),
        ("http://192.168.0.1/api/workspace", "unencrypted to 192.168.0.1"),
        ("http://0.0.0.0/api/workspace", "unencrypted to 0.0.0.0"),
        ("http://[::]/api/workspace", "unencrypted to ::"),
        ("http://127.1/api/workspace", "unencrypted to 127.1"),
        ("http://localhost@evil.com/api/workspace", "no user name, query or fragment"),
        ("https://me:pass@www.ruddr.io/api/workspace", "no user name, query or fragment"),
        ("https://@www.ruddr.io/api/workspace", "no user name, query or fragment"),
        (r"https://www.ruddr.io\@evil.com/api/workspace", "is not a URL"),
        ("https://www.ruddr.io/api/workspace?a=b", "no user name, query or fragment"),
        ("https://www.ruddr.io/api/workspace#a", "no user name, query or fragment"),
        ("https://www.ruddr.io/api", "must end in /workspace"),
        ("https://www.ruddr.io", "must end in /workspace"),
        ("https://www.ruddr.io/api/myworkspace", "must end in /workspace"),
        ("ftp://www.ruddr.io/api/workspace", "must be an https address"),
        ("file:///api/workspace", "must be an https address"),
        ("www.ruddr.io/api/workspace", "must be an https address"),
        ("https:///api/workspace", "must be an https address"),
        ("https://www.ruddr.io:port/api/workspace", "is not a URL"),
        ("https://www.ruddr.io:99999/api/workspace", "is not a URL"),
        ("https://[::1/api/workspace", "is not a URL"),
        ("https://☃.example/api/workspace", "'☃.example' cannot be the name of a host"),
        ("https://www..ruddr.io/api/workspace", "cannot be the name of a host"),
        (f"https://{'a' * 64}.ruddr.io/api/workspace", "cannot be the name of a host"),
        ("https://www.rud\ndr.io/api/workspace", "is not a URL"),
        ("https://www.ruddr .io/api/workspace", "is not a URL"),
        ("https://www.ruddr.io\x00/api/workspace", "is not a URL"),
        ("", "must be an https address"),
    ],
)
def test_an_unsafe_address_is_refused(base_url: str, why: str) -> None:
    """In one line that says why, before anything is sent there."""
    with pytest.raises(InvalidCredentials) as caught:
        credentials(base_url)
    assert why in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("api_key", "why"),
    [
        pytest.param("", "api_key is empty", id="empty"),
        pytest.param(f"{KEY}\n", "white space, a line break", id="line break at its end"),
        pytest.param(f" {KEY}", "white space, a line break", id="space before it"),
        pytest.param(f"Bearer {KEY}", "white space, a line break", id="with its scheme"),
        pytest.param(f"{KEY}é", "not ASCII", id="not ASCII"),
        pytest.param(f"{KEY}\x00", "white space, a line break", id="NUL"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused(api_key: str, why: str) -> None:
    """It would fail deep inside the HTTP client, or be another header; and it is not shown."""
    with pytest.raises(InvalidCredentials, match=why) as caught:
        credentials(api_key=api_key)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout_seconds", 0),
        ("timeout_seconds", 601),
        ("timeout_seconds", float("nan")),
        ("requests_per_second", 0),
        ("requests_per_second", float("inf")),
        ("burst", 0),
        ("burst", 1.5),
    ],
)
def test_a_setting_outside_its_range_is_refused(field: str, value: float) -> None:
    """And the key beside it is not shown."""
    with pytest.raises(ValidationError, match=field) as caught:
        RuddrCredentials.model_validate({"api_key": KEY, field: value})
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"apikey": KEY}, id="misspelt field"),
        pytest.param({"api_key": [KEY]}, id="list"),
        pytest.param({"api_key": {"key": KEY}}, id="mapping"),
        pytest.param({"api_key": KEY.encode()}, id="bytes"),
    ],
)
def test_a_key_in_the_wrong_place_is_not_shown(data: dict[str, Any]) -> None:
    """The error names the field and keeps what was given to itself."""
    with pytest.raises(InvalidCredentials, match="api_key") as caught:
        RuddrCredentials.model_validate(data)
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    "base_url",
    [
        pytest.param(KEY, id="alone"),
        pytest.param(f" {KEY}\n", id="with white space"),
        pytest.param(f"https://{KEY}/workspace", id="as a host"),
        pytest.param(f"https://www.ruddr.io:{KEY}/workspace", id="as a port"),
        pytest.param(f"https://www.ruddr.io/{KEY}/workspace", id="in the path"),
        pytest.param(f"https://www.ruddr.io/workspace?key={KEY}", id="in the query"),
    ],
)
def test_a_key_in_place_of_the_address_is_not_shown(base_url: str) -> None:
    """The same key is told from an address; the error shows it neither then nor by itself."""
    with pytest.raises(InvalidCredentials, match="base_url holds the API key") as caught:
        credentials(base_url)
    assert KEY.lower() not in repr(caught.value).lower()


def test_a_key_and_an_address_that_are_swapped_are_not_shown() -> None:
    """What is no address may be a key."""
    with pytest.raises(InvalidCredentials, match="base_url must be an https address") as caught:
        credentials(base_url=KEY, api_key=DEFAULT_BASE_URL)
    assert KEY not in repr(caught.value)


@pytest.mark.parametrize(
    ("field", "advice"),
    [
        ("base_URL", "do you mean base_url?"),
        ("baseUrl", "do you mean base_url?"),
        ("timeout_second", "do you mean timeout_seconds?"),
        ("request_per_second", "do you mean requests_per_second?"),
        ("bursts", "do you mean burst?"),
        ("verify", "use api_key, base_url, timeout_seconds"),
        ("x" * 500, "use api_key"),
    ],
)
def test_a_field_that_does_not_exist_is_refused(field: str, advice: str) -> None:
    """With the nearest one that does: a misspelt address would be the real Ruddr's."""
    with pytest.raises(InvalidCredentials, match="there is no field") as caught:
        RuddrCredentials(api_key=SecretStr(KEY), **{field: "http://localhost/api/workspace"})
    assert advice in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_defaults_are_the_documented_limits() -> None:
    """20 requests a second and bursts of 60, in this process alone."""
    block = credentials()
    assert (block.requests_per_second, block.burst, block.timeout_seconds) == (20.0, 60, 30.0)
    assert block.global_concurrency_limit is None


def test_credentials_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a script, a container or a first try without a stored block."""
    monkeypatch.setenv("RUDDR_API_KEY", KEY)
    monkeypatch.setenv("RUDDR_BASE_URL", "http://localhost:8000/api/workspace")
    assert RuddrCredentials.from_env() == credentials("http://localhost:8000/api/workspace")


@pytest.mark.parametrize("base_url", [None, ""], ids=["unset", "empty"])
def test_the_address_in_the_environment_is_optional(
    monkeypatch: pytest.MonkeyPatch, base_url: str | None
) -> None:
    """Ruddr's own is the default."""
    monkeypatch.setenv("RUDDR_API_KEY", KEY)
    monkeypatch.delenv("RUDDR_BASE_URL", raising=False)
    if base_url is not None:
        monkeypatch.setenv("RUDDR_BASE_URL", base_url)
    assert RuddrCredentials.from_env() == credentials()


def test_an_environment_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it."""
    monkeypatch.delenv("RUDDR_API_KEY", raising=False)
    with pytest.raises(InvalidCredentials, match="set RUDDR_API_KEY, or give a Ruddr Credentials"):
        RuddrCredentials.from_env()


@pytest.mark.parametrize(
    "shown",
    [repr, str, lambda block: repr(block.model_dump()), lambda block: block.model_dump_json()],
    ids=["repr", "str", "dump", "JSON"],
)
def test_the_key_is_not_shown(shown: Callable[[RuddrCredentials], str]) -> None:
    """However a block is printed."""
    assert "base_url" in shown(credentials())
    assert KEY not in shown(credentials())


def test_a_client_does_not_show_the_key() -> None:
    """Nor does what it is made of."""
    client = credentials().get_client()
    assert KEY not in repr(client) + repr(vars(client))


def test_a_fingerprint_tells_workspaces_apart_and_tells_nothing_else() -> None:
    """Each key has a budget of its own, found by a text that may be logged and stored."""
    fingerprints = [
        Connection(DEFAULT_BASE_URL, SecretStr(KEY)).fingerprint,
        Connection(DEFAULT_BASE_URL, SecretStr(KEY + "2")).fingerprint,
        Connection("http://localhost/api/workspace", SecretStr(KEY)).fingerprint,
    ]
    assert len(set(fingerprints)) == 3
    assert Connection(DEFAULT_BASE_URL, SecretStr(KEY), burst=1).fingerprint == fingerprints[0]
    assert all(re.fullmatch("[0-9a-f]{16}", fingerprint) for fingerprint in fingerprints)


def test_a_block_travels_to_another_process() -> None:
    """A worker gets the key that it needs."""
    arrived = pickle.loads(pickle.dumps(credentials()))  # noqa: S301
    assert arrived.api_key.get_secret_value() == KEY


def test_verifying_a_key_tells_its_workspace(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """One GET of the base URL."""
    assert ruddr_credentials.verify() == Workspace.model_validate(sandbox.workspace)
    assert [request.method for request in sandbox.requests] == ["GET"]


async def test_verifying_a_key_has_an_async_version(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """The same answer."""
    assert (await ruddr_credentials.averify()).name == sandbox.workspace["name"]


@pytest.mark.parametrize("revoked", [False, True], ids=["wrong", "revoked"])
def test_a_key_that_does_not_fit_is_told(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, *, revoked: bool
) -> None:
    """And nothing else would work with it."""
    if revoked:
        sandbox.revoke_key()
    else:
        ruddr_credentials.api_key = SecretStr(KEY)
    with pytest.raises(Unauthorized) as caught:
        ruddr_credentials.verify()
    assert caught.value.ends_run


@pytest.fixture
def document(ruddr_credentials: RuddrCredentials, prefect_api: None) -> Callable[..., None]:
    """Writes a block document as another version of the package, or a person, would."""
    ruddr_credentials.save("of-this-version", overwrite=True)

    def write(name: str, data: dict[str, Any]) -> None:
        with get_client(sync_client=True) as client:
            of_ours = client.read_block_document_by_name("of-this-version", "ruddr-credentials")
            assert of_ours.block_schema_id is not None
            client.create_block_document(
                BlockDocumentCreate(
                    name=name,
                    data=data,
                    block_schema_id=of_ours.block_schema_id,
                    block_type_id=of_ours.block_type_id,
                )
            )

    return write


def loaded(name: str, kind: type[Block] = RuddrCredentials) -> RuddrCredentials:
    """Return a block that was saved."""
    block = kind.load(name)
    assert isinstance(block, RuddrCredentials)
    return block


def fields(block: RuddrCredentials) -> dict[str, Any]:
    """Return what a block holds, without what Prefect notes about where it is saved."""
    return {name: getattr(block, name) for name in RuddrCredentials.model_fields}


def test_a_block_of_an_earlier_version_is_loaded(document: Callable[..., None]) -> None:
    """What it does not say is as documented."""
    document("earlier", {"api_key": KEY})
    assert fields(loaded("earlier")) == fields(credentials())


@pytest.mark.parametrize(
    ("name", "kind", "full_name"),
    [
        ("later", RuddrCredentials, "later"),
        ("later-by-slug", Block, "ruddr-credentials/later-by-slug"),
    ],
    ids=["ours", "Prefect's"],
)
def test_a_block_of_a_later_version_is_loaded(
    document: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    name: str,
    kind: type[Block],
    full_name: str,
) -> None:
    """With a warning that names the fields that are not known, and not what they hold."""
    document(name, {"api_key": KEY, "region": "eu-secret"})
    assert fields(loaded(full_name, kind)) == fields(credentials())
    assert "does not know, and passes over: region" in caplog.text
    assert "eu-secret" not in caplog.text


def test_a_document_with_a_misspelt_field_is_refused(document: Callable[..., None]) -> None:
    """A person wrote it: no version has two fields with names so alike."""
    document("misspelt", {"api_key": KEY, "base_URL": "http://localhost/api/workspace"})
    with pytest.raises(InvalidCredentials, match="do you mean base_url"):
        RuddrCredentials.load("misspelt")


@pytest.mark.usefixtures("prefect_api")
def test_a_loaded_block_is_saved_again(ruddr_credentials: RuddrCredentials) -> None:
    """What Prefect adds to a loaded block is no field of ours, and no error."""
    ruddr_credentials.save("again", overwrite=True)
    loaded("again").save("again", overwrite=True)
    again = RuddrCredentials.model_validate(loaded("again").model_dump())
    assert fields(again) == fields(ruddr_credentials)


@pytest.mark.usefixtures("prefect_api")
def test_a_block_is_saved_and_loaded_by_name(ruddr_credentials: RuddrCredentials) -> None:
    """With every setting; and what Prefect's API shows of it is masked."""
    ruddr_credentials.save("acme", overwrite=True)
    assert fields(loaded("acme")) == fields(ruddr_credentials)
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name("acme", "ruddr-credentials", False)
    assert document.data["base_url"] == ruddr_credentials.base_url
    assert ruddr_credentials.api_key.get_secret_value() not in document.model_dump_json()


def test_prefect_knows_it_as_credentials() -> None:
    """As those of Prefect's own integrations."""
    assert issubclass(RuddrCredentials, CredentialsBlock)


def test_the_help_of_a_field_is_plain_text() -> None:
    """Prefect's pages show it as it is: marks of Markdown would show too."""
    helps = [field.description for field in RuddrCredentials.model_fields.values()]
    assert all(text and text.endswith(".") and not re.search("[`*_]", text) for text in helps)


@pytest.mark.prefect
def test_the_block_type_is_found_through_its_entry_point() -> None:
    """A Prefect that has imported nothing of ours finds the collection, and so the block type."""
    program = (
        "from prefect.blocks.core import Block\n"
        "from prefect.plugins import load_prefect_collections\n"
        "assert 'prefect_ruddr' in load_prefect_collections()\n"
        "print(Block.get_block_class_from_key('ruddr-credentials').__name__)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "RuddrCredentials\n"
