"""What the sandbox answers with: JSON responses, and the refusals that Ruddr documents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status, 400 or above.
        message: What was wrong, in one line.
        errors: One text for each thing that failed validation.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        errors: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.message = message
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        super().__init__(" ".join([f"{status}: {message}", *errors]))

    def response(self) -> Response:
        """Return the answer in the form of the contract's `Error`."""
        return error_response(self.status, self.message, self.errors, self.headers)


def json_response(
    content: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `content` as JSON, with every character outside ASCII escaped.

    Escaping keeps half of a surrogate pair, which JSON can carry and UTF-8 cannot, intact.
    """
    return Response(
        json.dumps(content, separators=(",", ":")).encode("ascii"),
        status,
        headers,
        media_type="application/json",
    )


def error_response(
    status: int,
    message: str,
    errors: Sequence[str] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an error in the form of the contract's `Error`."""
    content: dict[str, Any] = {"status": status, "message": message}
    if errors:
        content["errors"] = list(errors)
    return json_response(content, status, headers)
