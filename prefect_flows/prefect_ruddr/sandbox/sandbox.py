"""What a test or a command holds in its hands: `Sandbox`."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefect_ruddr.sandbox.answers import Refused
from prefect_ruddr.sandbox.application import Application
from prefect_ruddr.sandbox.bucket import BURST, RATE, TokenBucket
from prefect_ruddr.sandbox.contract import load_contract
from prefect_ruddr.sandbox.faults import Fault
from prefect_ruddr.sandbox.recording import RecordedRequest, Recording
from prefect_ruddr.sandbox.sample import sample_workspace
from prefect_ruddr.sandbox.server import BackgroundServer
from prefect_ruddr.sandbox.state_file import StateFile
from prefect_ruddr.sandbox.workspace import Stage, Workspace


class Sandbox:
    """A local Ruddr for trying, testing and benchmarking.

    It listens while it is entered as a context, in a thread of its own, and validates with
    the same contract that the client is generated from.

    Examples:
        ```python
        with Sandbox(api_key="sandbox-key", rate=None) as sandbox:
            response = httpx.get(
                f"{sandbox.base_url}/opportunity-stages",
                headers={"Authorization": f"Bearer {sandbox.api_key}"},
            )
        ```

    Args:
        api_key: The key that is accepted.
        stages: How many stages the workspace starts with, at least 1; None for 18 in three
            pipelines.
        rate: Requests a second that the workspace may send in the long run, as many as Ruddr
            documents: 20; None for no limit.
        burst: Requests it may send at once after a pause, as many as Ruddr documents: 60.
        seed: Decides the ids and times of the workspace it starts with.
        state: A JSON file that holds the workspace. It is read if it exists, and then
            `stages` and `seed` do not matter; every change is in it before it is answered.
        host: A loopback address, or `localhost`.
        port: The port to listen on; 0 for one that is free.
        omit_pipeline: Leave `opportunityPipelineId` out of answers, as some of the
            vendor's examples do.
        record: How many of the latest requests to remember; 0 for none.

    Raises:
        ValueError: An argument is out of its range, or the state file is broken
            (`StateFileError`).
        OSError: The state file cannot be read or written; on entering, the port is taken.
    """

    def __init__(
        self,
        *,
        api_key: str = "sandbox-key",
        stages: int | None = None,
        rate: float | None = RATE,
        burst: int = BURST,
        seed: int = 1,
        state: Path | str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        omit_pipeline: bool = False,
        record: int = 10_000,
    ) -> None:
        if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
            raise ValueError("the API key must be printable ASCII without spaces")
        self.api_key = api_key
        self._address = _loopback(host), port
        self._contract = load_contract()
        self._bucket = TokenBucket(rate, burst)
        self._recording = Recording(record)
        self._workspace = _open_workspace(None if state is None else Path(state), seed, stages)
        self._application = Application(
            api_key=api_key,
            contract=self._contract,
            workspace=self._workspace,
            bucket=self._bucket,
            recording=self._recording,
            omit_pipeline=omit_pipeline,
        )
        self._server: BackgroundServer | None = None

    def __enter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError("the sandbox is running already")
        self._server = BackgroundServer(self._application, self._address)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def base_url(self) -> str:
        """The URL of the workspace, without a slash at its end."""
        if self._server is None:
            raise RuntimeError("the sandbox is not running: enter it with `with`")
        host, port = self._server.address
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}{self._contract.base_path}/workspace"

    @property
    def workspace(self) -> dict[str, str]:
        """The `id` and `name` of the workspace."""
        return dict(self._workspace.about)

    @property
    def pipelines(self) -> list[dict[str, str]]:
        """The `id` and `name` of each pipeline."""
        return [dict(pipeline) for pipeline in self._workspace.pipelines]

    @property
    def stages(self) -> list[Stage]:
        """All stages as they are now and as on the wire, newest first."""
        return self._workspace.stages()

    def stage(self, stage_id: object) -> Stage:
        """Return one stage as it is now and as on the wire.

        Args:
            stage_id: The id, a text or a `UUID`.

        Raises:
            KeyError: There is none with this id.
        """
        try:
            return dict(self._workspace.stage(str(stage_id)))
        except Refused as refusal:
            raise KeyError(str(stage_id)) from refusal

    def edit(self, stage_id: object, **fields: Any) -> Stage:
        """Change a stage as somebody else would: not limited, delayed or recorded.

        Args:
            stage_id: The id, a text or a `UUID`.
            **fields: The fields to set, by their names on the wire.

        Returns:
            The stage after the change.

        Raises:
            Refused: As the request would have been.
        """
        operation = self._contract.operation("update_opportunity_stage")
        operation.check_body(fields)
        return dict(self._workspace.update(str(stage_id), fields))

    def delete(self, stage_id: object) -> None:
        """Take a stage away as somebody does in Ruddr: its API has no such request.

        Args:
            stage_id: The id, a text or a `UUID`.

        Raises:
            Refused: 404, there is none with this id.
        """
        self._workspace.delete(str(stage_id))

    def make_read_only(self, stage_id: object) -> None:
        """Refuse further changes of a stage with 409, as for one synchronised from a CRM.

        Args:
            stage_id: The id, a text or a `UUID`.
        """
        self._workspace.make_read_only(str(stage_id))

    def revoke_key(self) -> None:
        """Answer every further request with 401."""
        self._application.revoke_key()

    def fail_next(self, count: int = 1, **fields: Any) -> None:
        """Let the next requests fail; several calls queue up.

        Args:
            count: How many of the requests that `method` and `path` select.
            **fields: The fields of a `Fault`, for example `status=503`, `drop=True` with
                `carried_out=True`, or `delay=2.0` (seconds).

        Raises:
            pydantic.ValidationError: A field is unknown or out of its range.
        """
        self._application.faults.add(Fault(**fields), count)

    def clear_faults(self) -> None:
        """Forget the faults that no request has run into yet."""
        self._application.faults.clear()

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests received, oldest first: the latest `record` of them."""
        return self._recording.all()

    def clear_requests(self) -> None:
        """Forget the requests received."""
        self._recording.clear()

    @property
    def refused(self) -> int:
        """How many requests were answered with 429 for being above the limit."""
        return self._bucket.refused


def _loopback(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ValueError(f"the host must be a loopback address such as 127.0.0.1, not {host!r}")
    return host


def _open_workspace(state: Path | None, seed: int, stages: int | None) -> Workspace:
    if state is None:
        return Workspace(sample_workspace(seed, stages))

    file = StateFile(state)
    workspace = Workspace(file.read() or sample_workspace(seed, stages), file.write)
    workspace.save()
    return workspace
