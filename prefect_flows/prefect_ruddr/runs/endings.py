"""How runs and their steps end in Prefect where something goes wrong: in one line."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from prefect import State
from prefect.context import FlowRunContext
from prefect.states import Failed

from prefect_ruddr.errors import RuddrError

P = ParamSpec("P")
R = TypeVar("R")


def failed(error: RuddrError) -> State[Any]:
    """Return the state of a run, or of a step, that ended with an error of ours.

    Prefect logs an exception that reaches it with every frame above it, of its own for the most
    part. An error of ours says in a line what there is to know, so it is given as a state.

    Raises:
        RuddrError: The same, where something unexpected led to it: then the frames are needed.
    """
    if error.__cause__ is not None:
        raise error
    return Failed(message=str(error), data=error.with_traceback(None))


def is_tried_again() -> bool:
    """Tell whether Prefect may try this flow run again: 3.9.0 does so only for what is raised."""
    context = FlowRunContext.get()
    policy = context.flow_run.empirical_policy if context and context.flow_run else None
    return bool(policy and policy.retries)


def in_one_line(step: Callable[P, R]) -> Callable[P, R]:
    """Decorate the function of a task of ours: what goes wrong as it may is one line in the log."""

    @wraps(step)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return step(*args, **kwargs)
        except RuddrError as error:
            return cast("R", failed(error))

    return told


def result_of(state: State[R]) -> R:
    """Return what a task gave.

    Raises:
        RuddrError: What went wrong in it, without the frames that it came through.
    """
    # `_sync`: in a running event loop Prefect would give a coroutine of it.
    result: Any = state.result(raise_on_failure=False, _sync=True)  # type: ignore[call-overload]
    if isinstance(result, RuddrError):
        raise result.with_traceback(None) from result.__cause__
    if isinstance(result, BaseException):
        raise result
    return cast("R", result)
