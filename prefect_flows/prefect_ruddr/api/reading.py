"""Reads the live stages of given ids in as few requests as can be known beforehand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from uuid import UUID

from prefect_ruddr.errors import StageNotFound
from prefect_ruddr.stages.stage import Stage

if TYPE_CHECKING:
    from prefect_ruddr.api.ruddr_api import RuddrApi


def read_live_stages(api: RuddrApi, stage_ids: Iterable[UUID]) -> dict[UUID, Stage]:
    """Read the stages with these ids.

    A page of the list holds 100 stages and a single read one, but how many pages there are is
    known only at the last. So pages are read for as long as fewer of them have been read than
    stages are still wanted, and then those stages one by one: never more than twice the
    fewest requests possible, and exactly the fewest when most of a workspace is wanted.

    Args:
        api: The workspace.
        stage_ids: The ids; an id twice is read once.

    Returns:
        The stages by id; one that the workspace does not have is absent.

    Raises:
        RuddrRequestError: When a request fails, other than for a stage that is not there.
    """
    wanted = dict.fromkeys(stage_ids)
    found: dict[UUID, Stage] = {}
    pages = api.stage_pages()
    pages_read = 0
    while len(found) < len(wanted) and pages_read < len(wanted) - len(found) and len(wanted) > 1:
        page = next(pages, None)
        if page is None:
            return found
        pages_read += 1
        found.update((stage.id, stage) for stage in page if stage.id in wanted)
    for stage_id in wanted:
        if stage_id not in found:
            try:
                found[stage_id] = api.get_stage(stage_id)
            except StageNotFound:
                continue
    return found
