"""Reads the live stages of given ids in as few requests as can be known beforehand."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from prefect_ruddr.api.paging import PAGE_SIZE
from prefect_ruddr.errors import BadRequest, StageNotFound
from prefect_ruddr.stages.stage import Stage

if TYPE_CHECKING:
    from prefect_ruddr.api.ruddr_api import RuddrApi

MOST_IN_A_SLICE = 50
"""How many stages are written after one reading: what takes 2.5 s at 20 requests a second."""


@dataclass(frozen=True)
class LiveStages:
    """Stages as they were read.

    Attributes:
        stages: The stages by id, those that nobody asked for too.
        order: The ids of those that were read in pages, as Ruddr lists them.
        whole: Whether they are known to be all stages of the workspace.
    """

    stages: dict[UUID, Stage]
    order: tuple[UUID, ...]
    whole: bool = False


@dataclass(frozen=True)
class Slice:
    """Stages that one page of the list holds.

    Attributes:
        after: The stage that the page begins behind; None for the beginning of the list.
        stage_ids: Those of its stages that are wanted.
    """

    after: UUID | None
    stage_ids: tuple[UUID, ...]


def read_live_stages(api: RuddrApi, stage_ids: Iterable[UUID]) -> LiveStages:
    """Read the stages with these ids.

    A page of the list holds 100 stages and a single read one, but how many pages there are is
    known only at the last. So pages are read for as long as fewer of them have been read than
    stages are still wanted, and then those stages one by one: never more than twice the
    fewest requests possible, and exactly the fewest when most of a workspace is wanted.

    Args:
        api: The workspace.
        stage_ids: The ids; an id twice is read once.

    Returns:
        The stages; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    missing = dict.fromkeys(stage_ids)
    found: dict[UUID, Stage] = {}
    order: list[UUID] = []
    pages = api.stage_pages()
    pages_read = 0
    whole = False
    while not whole and pages_read < len(missing) and len(missing) + pages_read > 1:
        page = next(pages)
        pages_read += 1
        whole = not page.has_more
        for stage in page.items:
            found[stage.id] = stage
            order.append(stage.id)
            missing.pop(stage.id, None)
    if not whole:
        found.update(_one_by_one(api, missing))
    return LiveStages(found, tuple(order), whole)


def read_all_stages(api: RuddrApi) -> LiveStages:
    """Read every stage of the workspace: a GET for every 100 of them.

    Raises:
        RuddrRequestError: When a request fails.
    """
    stages = api.list_stages()
    by_id = {stage.id: stage for stage in stages}
    return LiveStages(by_id, tuple(by_id), whole=True)


def slices(order: Sequence[UUID], wanted: Collection[UUID], most: int) -> Iterator[Slice]:
    """Divide stages into such as one page of the list holds; two at least, or a page is no gain.

    Args:
        order: Ids as Ruddr lists them, from the beginning of the list.
        wanted: The ids to divide; those that are not in `order` are in no slice.
        most: How many there may be in a slice.
    """
    places = [place for place, stage_id in enumerate(order) if stage_id in wanted]
    while places:
        first = places[0]
        taken = [place for place in places[:most] if place < first + PAGE_SIZE]
        places = places[len(taken) :]
        if len(taken) > 1:
            after = order[first - 1] if first else None
            yield Slice(after, tuple(order[place] for place in taken))


def read_slice(api: RuddrApi, wanted: Slice) -> dict[UUID, Stage]:
    """Read the stages of a slice again: one GET, and one more for each that has moved.

    Returns:
        The stages by id; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    try:
        page = {stage.id: stage for stage in api.stages_after(wanted.after)}
    except (BadRequest, StageNotFound):
        page = {}  # the stage that the page began behind is gone
    found = {stage_id: page[stage_id] for stage_id in wanted.stage_ids if stage_id in page}
    moved = [stage_id for stage_id in wanted.stage_ids if stage_id not in page]
    return found | _one_by_one(api, moved)


def read_again(api: RuddrApi, order: Sequence[UUID], wanted: Collection[UUID]) -> dict[UUID, Stage]:
    """Read stages once more, in as few requests as can be.

    Args:
        api: The workspace.
        order: Ids as Ruddr lists them, as far as that is known.
        wanted: The ids of the stages.

    Returns:
        The stages by id; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    found: dict[UUID, Stage] = {}
    in_pages: set[UUID] = set()
    for each in slices(order, wanted, PAGE_SIZE):
        found |= read_slice(api, each)
        in_pages.update(each.stage_ids)
    return found | _one_by_one(api, (stage_id for stage_id in wanted if stage_id not in in_pages))


def _one_by_one(api: RuddrApi, stage_ids: Iterable[UUID]) -> dict[UUID, Stage]:
    found: dict[UUID, Stage] = {}
    for stage_id in stage_ids:
        try:
            found[stage_id] = api.get_stage(stage_id)
        except StageNotFound:
            continue
    return found
