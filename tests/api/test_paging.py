"""A list of anything with an id is read page by page, to its end."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_ruddr import UnexpectedResponse
from prefect_ruddr.api.paging import Page, Pages


@dataclass(frozen=True)
class Deal:
    """Something else than a stage."""

    id: UUID


DEALS = [Deal(UUID(int=number)) for number in range(50)]


@given(st.integers(0, 50), st.integers(1, 60))
def test_every_item_is_read_once_and_in_order(count: int, size: int) -> None:
    """Whatever the size of a page; each begins where the last one ended."""
    pages: Pages[Deal] = Pages()
    read: list[Deal] = []
    asked = 0
    while not pages.complete:
        begin = 0 if pages.last_id is None else pages.last_id.int + 1
        page = DEALS[:count][begin : begin + size]
        read += pages.add(Page(page, has_more=begin + size < count)).items
        asked += 1
    assert read == DEALS[:count]
    assert asked == max(1, -(-count // size))


def test_an_empty_page_that_is_not_the_last_ends_the_list() -> None:
    """There is nothing to go on from."""
    with pytest.raises(UnexpectedResponse, match="empty page"):
        Pages[Deal]().add(Page([], has_more=True))


@pytest.mark.parametrize("pages", [1, 2, 3])
def test_pages_that_come_round_again_end_the_list(pages: int) -> None:
    """They would be read for ever."""
    walk: Pages[Deal] = Pages()
    for deal in DEALS[:pages]:
        walk.add(Page([deal], has_more=True))
    with pytest.raises(UnexpectedResponse, match="came twice"):
        walk.add(Page([DEALS[0]], has_more=True))
