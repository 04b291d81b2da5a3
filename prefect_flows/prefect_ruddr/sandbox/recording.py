"""The requests a sandbox has received, for tests to look at."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

REDACTED = "[redacted]"


@dataclass(slots=True)
class RecordedRequest:
    """One request as it arrived.

    Attributes:
        method: In upper case.
        path: With the query, percent-encoded as it was sent.
        headers: By lower-case name; the value of `authorization` is redacted.
        body: The bytes of the body.
        arrived: Monotonic time of arrival in seconds.
        status: The status answered; None while there is no answer, and for ever when the
            connection is dropped instead.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    arrived: float
    status: int | None = None

    @property
    def json(self) -> Any:
        """The body, parsed; None when there is none."""
        return json.loads(self.body) if self.body else None


class Recording:
    """The latest requests, oldest first.

    Args:
        size: How many are kept; 0 keeps none.
    """

    def __init__(self, size: int) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=size)

    def add(self, request: RecordedRequest) -> None:
        """Keep one more request; the oldest makes room when there are too many."""
        self._requests.append(request)

    def all(self) -> list[RecordedRequest]:
        """Return what is kept, oldest first."""
        return list(self._requests.copy())

    def clear(self) -> None:
        """Forget all requests."""
        self._requests.clear()
