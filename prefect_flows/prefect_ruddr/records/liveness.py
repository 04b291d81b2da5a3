"""Whether a flow run is over, also where its process was killed and Prefect never heard of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from uuid import UUID

from prefect.client.schemas.objects import Artifact, FlowRun

from prefect_ruddr.machine import locked, machine_id
from prefect_ruddr.records.plan_table import MACHINE


@contextmanager
def alive(flow_run_id: UUID | None) -> Iterator[None]:
    """Show the other processes of this machine that a flow run goes on."""
    with ExitStack() as stack:
        # Without a lock, nobody takes the run for dead: they ask Prefect alone.
        with suppress(OSError):
            stack.enter_context(locked(_name(flow_run_id), keep=False))
        yield


def is_over(run: FlowRun, plans: Sequence[Artifact]) -> bool:
    """Tell whether a flow run can write no more.

    Prefect holds a run whose process was killed for running. It is over all the same where it was
    on this machine and no process goes on with it.

    Args:
        run: The flow run.
        plans: The plans that it published.
    """
    if run.state is None or run.state.is_final():
        return True
    was_here = {(plan.metadata_ or {}).get(MACHINE) for plan in plans} == {machine_id()}
    if not was_here or not run.state.is_running():
        return False
    try:
        with locked(_name(run.id), keep=False) as free:
            return free
    except OSError:
        return False


def _name(flow_run_id: UUID | None) -> str:
    return f"run-{flow_run_id}"
