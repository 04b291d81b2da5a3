"""What one attempt of a request may take, whatever the server does: seconds and bytes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect_ruddr.errors import UnexpectedResponse

LARGEST_HEAD = 96 * 2**10
"""Bytes of status line and headers, with all the 1xx answers before them. Less than what h11
holds of a head that is not whole, so that this limit is the one that is met."""

LARGEST_ANSWER = 10 * 2**20
"""Bytes of a body; a longer answer is not read to its end."""


class Bounds:
    """What is left to one attempt, from the moment when it has a place in the pool.

    Args:
        seconds: How long the attempt may take.
        is_write: Whether the request changes something.

    Attributes:
        sent: Whether any of the request may have reached Ruddr.
    """

    def __init__(self, seconds: float, *, is_write: bool) -> None:
        self.sent = False
        self._is_write = is_write
        self._ends = time.monotonic() + seconds
        self._wire_bytes_left = LARGEST_HEAD
        self._body_bytes_left = LARGEST_ANSWER
        self._too_long = f"the head of the answer is longer than {LARGEST_HEAD >> 10} KiB"

    @property
    def in_doubt(self) -> bool:
        """Whether a write may have been carried out, as far as can be known without an answer."""
        return self._is_write and self.sent

    def seconds_left(self) -> float:
        """Return how long the next step may take, in seconds.

        Raises:
            TimeoutError: No time is left.
        """
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def count_wire(self, data: bytes) -> None:
        """Count what has come from the network.

        Raises:
            UnexpectedResponse: It is more than an answer of Ruddr can be.
        """
        self._wire_bytes_left -= len(data)
        self._require(self._wire_bytes_left >= 0)

    def head_is_whole(self) -> None:
        """Allow for a body from now on, and for as many bytes again that frame it."""
        self._wire_bytes_left += 2 * LARGEST_ANSWER
        self._too_long = f"the answer is longer than {LARGEST_ANSWER >> 20} MiB"

    def count_body(self, chunk: bytes) -> None:
        """Count a part of the body, without what frames it on the wire.

        Raises:
            UnexpectedResponse: The body is longer than one of Ruddr can be.
        """
        self._body_bytes_left -= len(chunk)
        self._require(self._body_bytes_left >= 0)

    def _require(self, within: bool) -> None:
        if not within:
            raise UnexpectedResponse(self._too_long, may_have_been_applied=self.in_doubt)


_in_force: ContextVar[Bounds] = ContextVar("bounds of the attempt under way")


def bounds_in_force() -> Bounds:
    """Return the bounds of the attempt that this thread or coroutine is making."""
    return _in_force.get()


@contextmanager
def in_force(bounds: Bounds) -> Iterator[Bounds]:
    """Let the bounds hold for all that is sent and read inside, in this thread or coroutine."""
    token = _in_force.set(bounds)
    try:
        yield bounds
    finally:
        _in_force.reset(token)
