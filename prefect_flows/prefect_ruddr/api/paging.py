"""A list that is read page by page, each page from where the last one ended. Pure."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar
from uuid import UUID

from prefect_ruddr.errors import UnexpectedResponse

PAGE_SIZE = 100
"""Items in a page of a list; the most that Ruddr gives."""


class HasId(Protocol):
    """Anything in a list of Ruddr's."""

    @property
    def id(self) -> UUID:
        """What the next page is asked for by."""


T = TypeVar("T", bound=HasId)


class Page(NamedTuple, Generic[T]):
    """A part of a list, and whether more follows it."""

    items: list[T]
    has_more: bool


class Pages(Generic[T]):
    """Where in a list we are.

    Attributes:
        last_id: The id that the next page begins after, or None for the first page.
        complete: Whether the last page has been added.

    Example:
        >>> from types import SimpleNamespace
        >>> from uuid import UUID
        >>> pages = Pages()
        >>> pages.add(Page([SimpleNamespace(id=UUID(int=7))], has_more=True)).has_more
        True
        >>> pages.last_id, pages.complete
        (UUID('00000000-0000-0000-0000-000000000007'), False)
    """

    def __init__(self) -> None:
        self.last_id: UUID | None = None
        self.complete = False
        self._last_ids: set[UUID] = set()

    def add(self, page: Page[T]) -> Page[T]:
        """Go on to the next page, and return this one.

        Raises:
            UnexpectedResponse: The list would never end.
        """
        self.complete = not page.has_more
        if page.has_more:
            if not page.items:
                raise UnexpectedResponse("an empty page says that more follows", status=200)
            self.last_id = page.items[-1].id
            if self.last_id in self._last_ids:
                raise UnexpectedResponse("the same page came twice", status=200)
            self._last_ids.add(self.last_id)
        return page
