"""The order in which changes are written where one takes a name that another gives up. Pure.

Ruddr refuses two stages of one name in a pipeline, so B → C has to be written before A → B.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

from prefect_ruddr.stages.plan import FieldChange, StageChange
from prefect_ruddr.stages.stage import FieldValue, Stage
from prefect_ruddr.texts import listed

MAX_KEPT_OF_NAME = 200
"""Characters of a name that are kept in the third name of a swap; Ruddr takes 255."""


@dataclass(frozen=True)
class WriteOrder:
    """Changes, as they can be written.

    Attributes:
        free: Those that depend on no other, in their order.
        chained: Those that do, each after the one whose name it takes.
        swaps: Those that wait for each other in a circle, each taking the name of the next.
    """

    free: tuple[StageChange, ...]
    chained: tuple[StageChange, ...]
    swaps: tuple[tuple[StageChange, ...], ...]

    def all(self) -> Iterator[StageChange]:
        """Yield every change once."""
        yield from self.free
        yield from self.chained
        for swap in self.swaps:
            yield from swap


def write_order(changes: Iterable[StageChange], live: Mapping[UUID, Stage]) -> WriteOrder:
    """Find which changes have to be written after which.

    Args:
        changes: At most one for a stage.
        live: The stages as they are now, by id; one that is missing is reckoned to be in any
            pipeline.
    """
    by_id = {change.stage_id: change for change in changes}
    waits_for = _dependencies(by_id.values(), live)
    swaps = []
    while cycle := _cycle(waits_for):
        swaps.append(tuple(by_id[stage_id] for stage_id in cycle))
        for stage_id in cycle:
            del waits_for[stage_id]
    swapped = {change.stage_id for swap in swaps for change in swap}
    sorted_ids = TopologicalSorter(waits_for).static_order()
    chained = dict.fromkeys(each for each in sorted_ids if each not in swapped)
    return WriteOrder(
        free=tuple(by_id[each] for each in by_id if each not in swapped and each not in chained),
        chained=tuple(by_id[each] for each in chained),
        swaps=tuple(swaps),
    )


def swap_errors(order: WriteOrder) -> Mapping[UUID, str]:
    """Return, for each stage that would swap its name with others, why that is refused."""
    return {
        change.stage_id: (
            f"{listed(each.label for each in swap)} swap their names, and Ruddr"
            " refuses two stages of one name: choose swap_names=True to go over a third name"
        )
        for swap in order.swaps
        for change in swap
    }


def over_a_third_name(swap: tuple[StageChange, ...]) -> Iterator[StageChange]:
    """Return the changes that make a swap: the first stage steps aside, and comes last.

    Args:
        swap: Changes of which each takes the name of the next, and the last that of the first.
    """
    first, *others = swap
    name = str(first.after.get("name", first.stage_name))
    aside = f"{name[:MAX_KEPT_OF_NAME]} (swapping {str(first.stage_id)[:8]})"
    step_aside = FieldChange(field="name", before=first.stage_name, after=aside)
    yield first.model_copy(update={"fields": (step_aside,)})
    yield from reversed(others)
    last_step = FieldChange(field="name", before=aside, after=name)
    rest = (field for field in first.fields if field.field != "name")
    yield first.model_copy(update={"fields": (last_step, *rest)})


def _dependencies(
    changes: Iterable[StageChange], live: Mapping[UUID, Stage]
) -> dict[UUID, set[UUID]]:
    given_up: dict[FieldValue, list[tuple[FieldValue, UUID]]] = defaultdict(list)
    taken: list[tuple[FieldValue, FieldValue, UUID]] = []
    for change in changes:
        stage = live.get(change.stage_id)
        pipeline = stage.value("opportunity_pipeline_id") if stage else None
        before = (change.stage_name, pipeline)
        after = (
            change.after.get("name", change.stage_name),
            change.after.get("opportunity_pipeline_id", pipeline),
        )
        if before != after:
            given_up[before[0]].append((before[1], change.stage_id))
            taken.append((*after, change.stage_id))
    waits_for: dict[UUID, set[UUID]] = {}
    for name, pipeline, stage_id in taken:
        others = {
            other
            for elsewhere, other in given_up[name]
            if other != stage_id and (elsewhere == pipeline or None in {elsewhere, pipeline})
        }
        if others:
            waits_for[stage_id] = others
    return waits_for


def _cycle(waits_for: Mapping[UUID, set[UUID]]) -> list[UUID]:
    """Return a circle, each waiting for the next, or nothing where there is none."""
    try:
        TopologicalSorter(waits_for).prepare()
    except CycleError as error:
        # graphlib lists each after the one it waits for, with the first again at the end.
        circle: list[UUID] = error.args[1]
        return circle[:0:-1]
    return []
