"""What Ruddr can be asked: get, list and update, sync and async.

Adds what the generated client leaves out: one connection pool per process, retries, the request
budget, and a typed error for each way a call can end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar
from uuid import UUID

from prefect_ruddr.api import answers, wire
from prefect_ruddr.api.calls import WORKSPACE, Call, Client, Pages, get_call, update_call
from prefect_ruddr.api.connection import MOST_CONNECTIONS, Connection
from prefect_ruddr.errors import RuddrRequestError, TooManyRequests
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.stages.stage import Stage, Workspace
from prefect_ruddr.stages.update import StageUpdate

T = TypeVar("T")

Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[logging.Logger]

_UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, RecursionError)


class Answer(NamedTuple, Generic[T]):
    """What Ruddr answered, and how many times the request was sent."""

    value: T
    attempts: int


class RuddrApi:
    """The calls of one workspace, paced together; for any number of threads and event loops.

    Each call waits for its turn in the request budget, sends, and tries again up to five
    times where that can help: after a 429 or a 500, 502, 503 or 504, and when no whole
    answer arrived. Sending a PATCH twice does no harm, as its values are absolute.

    Every method raises `RuddrRequestError`, in the class that says what happened.

    Args:
        connection: Where the workspace is, and the key to it.
        budget: The workspace's request budget.
        logger: Where a further attempt is told.
    """

    def __init__(
        self, connection: Connection, budget: RequestBudget, logger: Callable[[], Logger]
    ) -> None:
        self._connection = connection
        self._budget = budget
        self._logger = logger
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._connections = threading.Semaphore(MOST_CONNECTIONS)
        self._client: Client | None = None
        self._async_clients: _AsyncClients = {}

    def workspace(self) -> Workspace:
        """Read the workspace behind the key: one GET of the base URL."""
        return self._run(WORKSPACE).value

    async def aworkspace(self) -> Workspace:
        """Async twin of `workspace`."""
        return (await self._arun(WORKSPACE)).value

    def get_stage(self, stage_id: UUID) -> Stage:
        """Read one stage: one GET."""
        return self._run(get_call(stage_id)).value

    async def aget_stage(self, stage_id: UUID) -> Stage:
        """Async twin of `get_stage`."""
        return (await self._arun(get_call(stage_id))).value

    def list_stages(self, name: str | None = None) -> list[Stage]:
        """Read all stages, newest first: a GET for every 100 of them.

        Args:
            name: Only stages whose name is exactly this.
        """
        return [stage for page in self.stage_pages(name) for stage in page]

    def stage_pages(self, name: str | None = None) -> Iterator[list[Stage]]:
        """Read the list page by page, each when it is asked for: one GET.

        Args:
            name: Only stages whose name is exactly this.
        """
        pages = Pages(name)
        while not pages.complete:
            yield pages.add(self._run(pages.next_call()).value)

    async def alist_stages(self, name: str | None = None) -> list[Stage]:
        """Async twin of `list_stages`."""
        pages = Pages(name)
        stages: list[Stage] = []
        while not pages.complete:
            stages += pages.add((await self._arun(pages.next_call())).value)
        return stages

    def update_stage(self, update: StageUpdate) -> Answer[Stage]:
        """Set the fields of an update: one PATCH with exactly those, and the stage after it."""
        return self._run(update_call(update))

    async def aupdate_stage(self, update: StageUpdate) -> Answer[Stage]:
        """Async twin of `update_stage`."""
        return await self._arun(update_call(update))

    def _run(self, call: Call[T]) -> Answer[T]:
        described = _Described(call)
        try:
            return self._attempt(call, described, 1)
        except RuddrRequestError as error:
            first = error
        for attempt in self._attempts_again():
            with attempt:
                if attempt.num == 1:
                    raise first
                return self._attempt(call, described, attempt.num)
        raise AssertionError("the last attempt returns or raises")

    async def _arun(self, call: Call[T]) -> Answer[T]:
        described = _Described(call)
        try:
            return await self._aattempt(call, described, 1)
        except RuddrRequestError as error:
            first = error
        async for attempt in self._attempts_again():
            with attempt:
                if attempt.num == 1:
                    raise first
                return await self._aattempt(call, described, attempt.num)
        raise AssertionError("the last attempt returns or raises")

    def _attempts_again(self) -> Any:  # stamina does not export the type
        """Return the attempts of a call that failed once, which counts as the first of them.

        Most calls need neither stamina nor its bookkeeping, which takes longer than a turn in
        the budget.
        """
        import stamina  # noqa: PLC0415

        return stamina.retry_context(
            on=self._wait_before_next, attempts=answers.ATTEMPTS, timeout=None
        )

    def _attempt(self, call: Call[T], described: _Described, number: int) -> Answer[T]:
        client = self._sync_client()
        with self._connections, self._budget.request(), described.attempt(number):
            response = call.operation.sync_detailed(client=client, **call.arguments)
            return Answer(call.parsed(response.parsed), number)

    async def _aattempt(self, call: Call[T], described: _Described, number: int) -> Answer[T]:
        client, connections = await self._async_client()
        async with connections, self._budget.arequest():
            with described.attempt(number):
                response = await call.operation.asyncio_detailed(client=client, **call.arguments)
                return Answer(call.parsed(response.parsed), number)

    def _wait_before_next(self, error: Exception) -> float | bool:
        if not isinstance(error, RuddrRequestError):
            return False
        wait = answers.wait_before_next(error, error.attempts)
        if wait is None:
            return False
        if isinstance(error, TooManyRequests):
            self._budget.slow_down(wait)
        self._logger().warning(
            "Attempt %d of %d failed, the next is in %.1f s: %s",
            error.attempts,
            answers.ATTEMPTS,
            wait,
            error,
        )
        return wait

    def _sync_client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client(base_url=self._connection.root_url).set_httpx_client(
                    wire.sync_client(self._connection)
                )
            return self._client

    async def _async_client(self) -> tuple[Client, asyncio.Semaphore]:
        # A client is bound to the event loop it was made in. The generator that keeps it is
        # never finished by us: a loop that shuts down closes its generators, and with this
        # one the client, while it still can.
        clients = self._async_clients
        loop = asyncio.get_running_loop()
        if loop not in clients:
            for closed in [loop for loop in list(clients) if loop.is_closed()]:
                clients.pop(closed, None)
            http_client = wire.async_client(self._connection)
            keeper = _kept_open(clients, loop, http_client)
            client = Client(base_url=self._connection.root_url)
            connections = asyncio.Semaphore(MOST_CONNECTIONS)
            clients[loop] = client.set_async_httpx_client(http_client), connections, keeper
            await anext(keeper)
        return clients[loop][:2]

    def close(self) -> None:
        """Close the connections that threads share, and let event loops close theirs."""
        client, self._client = self._client, None
        if client is not None:
            client.get_httpx_client().close()
        self._async_clients.clear()

    def __del__(self) -> None:
        # Nobody can be using it now. What a forked child inherited is its parent's to close.
        if self._process == os.getpid():
            self.close()


_AsyncClients: TypeAlias = dict[
    asyncio.AbstractEventLoop, tuple[Client, asyncio.Semaphore, AsyncGenerator[None]]
]


async def _kept_open(
    clients: _AsyncClients, loop: asyncio.AbstractEventLoop, http_client: Any
) -> AsyncGenerator[None]:
    # Without the `RuddrApi`, which has to go as soon as nobody uses it.
    try:
        yield
    finally:
        clients.pop(loop, None)
        await http_client.aclose()


class _Described:
    """Turns a failure inside it into an error that says which call and attempt it was.

    One for all attempts of a call: a refusal does not undo what an earlier attempt, whose
    answer was lost, may have written.
    """

    def __init__(self, call: Call[Any]) -> None:
        self._call = call
        self._number = 0
        self._in_doubt = False

    def attempt(self, number: int) -> Self:
        self._number = number
        return self

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _UNREADABLE):
            error = answers.malformed(error, is_write=self._call.is_write)
        if isinstance(error, RuddrRequestError):
            error = error.about(stage_id=self._call.stage_id, attempts=self._number)
            error.may_have_been_applied |= self._in_doubt
            self._in_doubt = error.may_have_been_applied
            raise error from None
