"""What Ruddr can be asked: get, list and update, sync and async.

Adds what the generated client leaves out: one connection pool per process, retries, the request
budget, and a typed error for each way a call can end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from uuid import UUID
from weakref import finalize

import stamina

from prefect_ruddr.api import answers, wire
from prefect_ruddr.api.calls import WORKSPACE, Call, Client, get_call, page_call, update_call
from prefect_ruddr.api.connection import MOST_CONNECTIONS, Connection
from prefect_ruddr.api.guards import Guard
from prefect_ruddr.api.paging import HasId, Page, Pages
from prefect_ruddr.api.raw import RawAnswer, SendNoMore
from prefect_ruddr.errors import RuddrRequestError, TooManyRequests
from prefect_ruddr.pacing.budget import RequestBudget
from prefect_ruddr.stages.kept import missed
from prefect_ruddr.stages.stage import Stage, Workspace
from prefect_ruddr.stages.update import StageUpdate

T = TypeVar("T")
Item = TypeVar("Item", bound=HasId)

Logger: TypeAlias = logging.Logger | logging.LoggerAdapter[logging.Logger]

_FAILURES = (RuddrRequestError, KeyError, ValueError, TypeError, AttributeError, RecursionError)
"""How an attempt ends: by an error over the wire, or by what an unreadable body raises."""


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
        # Waiting for a connection is no part of an attempt, and takes no turn.
        self._connections = threading.Semaphore(MOST_CONNECTIONS)
        self._client: Client | None = None
        self._async_clients: _AsyncClients = {}
        # When nobody uses it any more, event loops close their clients.
        finalize(self, self._async_clients.clear).atexit = False

    def workspace(self) -> Workspace:
        """Read the workspace behind the key: one GET of the base URL."""
        return self._run(WORKSPACE).value

    async def aworkspace(self) -> Workspace:
        """Async version of `workspace`."""
        return (await self._arun(WORKSPACE)).value

    def get_stage(self, stage_id: UUID) -> Stage:
        """Read one stage: one GET."""
        return self._run(get_call(stage_id)).value

    async def aget_stage(self, stage_id: UUID) -> Stage:
        """Async version of `get_stage`."""
        return (await self._arun(get_call(stage_id))).value

    def list_stages(self, name: str | None = None) -> list[Stage]:
        """Read all stages, newest first: a GET for every 100 of them.

        Args:
            name: Only stages whose name is exactly this.
        """
        return [stage for page in self.stage_pages(name) for stage in page.items]

    async def alist_stages(self, name: str | None = None) -> list[Stage]:
        """Async version of `list_stages`."""
        pages = self._apages(partial(page_call, name))
        return [stage async for page in pages for stage in page.items]

    def stage_pages(self, name: str | None = None) -> Iterator[Page[Stage]]:
        """Read the list page by page, each when it is asked for: one GET.

        Args:
            name: Only stages whose name is exactly this.
        """
        return self._pages(partial(page_call, name))

    def stages_after(self, stage_id: UUID | None) -> list[Stage]:
        """Read one page of the list: one GET.

        Args:
            stage_id: The stage that the page begins behind; None for the first page.
        """
        return self._run(page_call(None, stage_id)).value.items

    def update_stage(self, update: StageUpdate, guard: Guard | None = None) -> Answer[Stage]:
        """Set the fields of an update: one PATCH with exactly those, and the stage after it.

        Args:
            update: The update.
            guard: Looks at the stage before it is sent, and may keep it from being sent; None to
                send it, and to send it again, without a look.
        """
        if guard is None:
            return self._run(update_call(update))
        try:
            return self._run(update_call(update), guard)
        except _Unread as unread:
            raise unread.error from None
        except RuddrRequestError as error:
            if not error.may_have_been_applied:
                raise
            doubt = error
        try:
            stage = self.get_stage(update.id)
        except RuddrRequestError:
            raise doubt from None
        return _read_back(update, guard, stage, doubt)

    async def aupdate_stage(self, update: StageUpdate, guard: Guard | None = None) -> Answer[Stage]:
        """Async version of `update_stage`."""
        if guard is None:
            return await self._arun(update_call(update))
        try:
            return await self._arun(update_call(update), guard)
        except _Unread as unread:
            raise unread.error from None
        except RuddrRequestError as error:
            if not error.may_have_been_applied:
                raise
            doubt = error
        try:
            stage = await self.aget_stage(update.id)
        except RuddrRequestError:
            raise doubt from None
        return _read_back(update, guard, stage, doubt)

    def raw(self, call: Call[RawAnswer]) -> RawAnswer:
        """Return an answer as it came over the wire; a write is not sent twice.

        Args:
            call: One of `prefect_ruddr.api.raw`.
        """
        return self._run(call, SendNoMore() if call.is_write else None).value

    def without_key(self, text: str) -> str:
        """Return a text in which the key is masked, where a server has echoed it."""
        return self._connection.without_key(text)

    def _pages(self, call_after: Callable[[UUID | None], Call[Page[Item]]]) -> Iterator[Page[Item]]:
        pages: Pages[Item] = Pages()
        while not pages.complete:
            yield pages.add(self._run(call_after(pages.last_id)).value)

    async def _apages(
        self, call_after: Callable[[UUID | None], Call[Page[Item]]]
    ) -> AsyncIterator[Page[Item]]:
        pages: Pages[Item] = Pages()
        while not pages.complete:
            yield pages.add((await self._arun(call_after(pages.last_id))).value)

    def _run(self, call: Call[T], guard: Guard | None = None) -> Answer[T]:
        client = self._sync_client()
        failures: list[RuddrRequestError] = []
        for attempt in self._attempts():
            with attempt:
                if guard and guard.wants_to_look(failures[-1] if failures else None):
                    try:
                        stage = self._run(call.reading()).value
                    except RuddrRequestError as error:
                        raise _Unread(error, failures) from None
                    if guard.is_spared(stage):
                        return Answer(stage, attempt.num - 1)
                try:
                    with self._connections, self._budget.request():
                        if guard:
                            guard.check()
                        return Answer(call.send(client), attempt.num)
                except _FAILURES as error:
                    failures.append(self._failure(error, call, attempt.num, failures))
                raise failures[-1]
        raise AssertionError("the last attempt returns or raises")

    async def _arun(self, call: Call[T], guard: Guard | None = None) -> Answer[T]:
        client, connections = await self._async_client()
        failures: list[RuddrRequestError] = []
        async for attempt in self._attempts():
            with attempt:
                if guard and guard.wants_to_look(failures[-1] if failures else None):
                    try:
                        stage = (await self._arun(call.reading())).value
                    except RuddrRequestError as error:
                        raise _Unread(error, failures) from None
                    if guard.is_spared(stage):
                        return Answer(stage, attempt.num - 1)
                try:
                    async with connections, self._budget.arequest():
                        if guard:
                            guard.check()
                        return Answer(await call.asend(client), attempt.num)
                except _FAILURES as error:
                    failures.append(self._failure(error, call, attempt.num, failures))
                raise failures[-1]
        raise AssertionError("the last attempt returns or raises")

    def _attempts(self) -> Any:  # stamina does not export the type
        return stamina.retry_context(
            on=self._wait_before_next, attempts=answers.ATTEMPTS, timeout=None
        )

    def _failure(
        self, error: Exception, call: Call[T], attempt: int, before: list[RuddrRequestError]
    ) -> RuddrRequestError:
        """Return what is to be raised for an attempt that failed.

        A new error: what led to the one given holds the request, and with it the key.
        """
        if not isinstance(error, RuddrRequestError):
            error = answers.malformed(error, is_write=call.is_write)
        failure = error.about(
            stage_id=call.stage_id, attempts=attempt, hide=self._connection.without_key
        )
        failure.gave_up = answers.gave_up(failure, attempt)
        # A refusal does not undo what an earlier attempt, whose answer was lost, may have written.
        failure.may_have_been_applied |= any(earlier.may_have_been_applied for earlier in before)
        return failure

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
                http_client = wire.sync_client(self._connection)
                finalize(self, _close, http_client, os.getpid())
                client = Client(base_url=self._connection.root_url)
                self._client = client.set_httpx_client(http_client)
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


_AsyncClients: TypeAlias = dict[
    asyncio.AbstractEventLoop, tuple[Client, asyncio.Semaphore, AsyncGenerator[None]]
]


def _close(http_client: Any, process: int) -> None:
    # What a forked child inherited is its parent's to close.
    if process == os.getpid():
        http_client.close()


async def _kept_open(
    clients: _AsyncClients, loop: asyncio.AbstractEventLoop, http_client: Any
) -> AsyncGenerator[None]:
    # Without the `RuddrApi`, which has to go as soon as nobody uses it.
    try:
        yield
    finally:
        clients.pop(loop, None)
        await http_client.aclose()


class _Unread(Exception):
    """A stage could not be read before it was to be written, or written again."""

    def __init__(self, error: RuddrRequestError, failures: Sequence[RuddrRequestError]) -> None:
        doubtful = failures and failures[-1].may_have_been_applied
        self.error = failures[-1] if doubtful else error
        self.error.attempts = len(failures)
        super().__init__()


def _read_back(
    update: StageUpdate, guard: Guard, stage: Stage, doubt: RuddrRequestError
) -> Answer[Stage]:
    """Say, from reading the stage, what became of a write whose last answer was lost."""
    guard.wants_to_look(doubt)
    if guard.is_spared(stage):
        return Answer(stage, doubt.attempts)
    if missed(update.fields, stage):
        raise doubt.read_back("it had not been carried out when it was read")
    raise doubt
