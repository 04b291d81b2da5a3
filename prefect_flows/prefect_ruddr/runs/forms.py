"""What Prefect shows and records of a flow's parameters."""

import json
import os
from collections.abc import Callable, Sequence, Sized
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, Protocol, TypeAlias, TypeVar

from prefect import Flow
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field, GetCoreSchemaHandler
from pydantic_core import core_schema

from prefect_ruddr.errors import RuddrError
from prefect_ruddr.runs.applying import CONCURRENCY
from prefect_ruddr.runs.endings import failed, is_tried_again, result_of
from prefect_ruddr.runs.intake import Row
from prefect_ruddr.runs.recording import not_recorded, recorded_or_not
from prefect_ruddr.stages.update import StageUpdate, StageUpdateLike

P = ParamSpec("P")
R = TypeVar("R")


class InOneLine(Protocol):
    """What a flow returns that says in a line what it comes to."""

    def in_one_line(self) -> str:
        """Return that line."""


L = TypeVar("L", bound=InOneLine)

MOST_RECORDED = 400_000
"""Characters of parameters that are recorded of a run; Prefect's API refuses 512 KiB."""


class _Form:
    """Shows a parameter as a type in the form, and takes what is given as it is.

    It is the flow that validates, not Prefect, so that the message is ours: one line, every
    error.
    """

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __get_pydantic_core_schema__(
        self, _: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        form = handler.generate_schema(self._shown)
        return core_schema.no_info_wrap_validator_function(lambda value, _: value, form)


UpdateAsTyped: TypeAlias = Annotated[StageUpdateLike, _Form(StageUpdate)]
UpdatesAsTyped: TypeAlias = Annotated[Sequence[Row], _Form(list[StageUpdate])]
HistoryAsTyped: TypeAlias = Annotated[Any, _Form(str)]

ProbabilityChange: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Seconds: TypeAlias = Annotated[int, Field(ge=1)]
AtLeastZero: TypeAlias = Annotated[int, Field(ge=0)]


class BulkFlow(Flow[P, R]):
    """A flow that takes more rows than Prefect's API records as a parameter.

    Where there are too many updates, the recorded parameter says only how many there were; the
    plan that the run publishes has every change. Of a history of deals that is no file, it never
    says more: there are too many rows of it, and they are about customers.
    """

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the parameters as they are recorded."""
        history = parameters.get("history")
        if history is not None and not isinstance(history, str | os.PathLike):
            many = f"{len(history)} " if isinstance(history, Sized) else ""
            parameters = {**parameters, "history": f"<{many}rows>"}
        recorded = super().serialize_parameters(parameters)
        updates = recorded.get("updates")
        if isinstance(updates, list) and len(json.dumps(updates, default=str)) > MOST_RECORDED:
            recorded["updates"] = f"<{len(updates)} updates>"
        return recorded

    if not TYPE_CHECKING:  # the overloads of Flow are right for this one too

        def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
            """Run the flow; where Prefect cannot record how it ended, the report still arrives.

            Raises:
                RunNotRecorded: When Prefect is gone at the end of the run.
            """
            with recorded_or_not() as record:
                try:
                    # The last state decides: Prefect would raise what an earlier attempt raised,
                    # as it takes a state that a flow returns for no result.
                    state = super().__call__(*args, return_state=True, **kwargs)
                    return state if return_state else result_of(state)
                except Exception as error:
                    if record.report is None or isinstance(error, RuddrError):
                        raise
                    raise not_recorded(record.report, error) from None

    def with_options(self, **options: Any) -> "BulkFlow[P, R]":
        """Return a copy with other options, of the same kind."""
        copy = super().with_options(**options)
        # Flow makes a plain Flow of it.
        copy.__class__ = type(self)
        return copy  # type: ignore[return-value]  # the line above


def bulk_flow(
    name: str,
) -> Callable[[Callable[P, L]], BulkFlow[P, L]]:
    """Decorate a function as a `BulkFlow` whose steps run in as many threads as one run uses.

    The message of the state that a run ends in is what its result, or its error, says in one line.

    Args:
        name: The name of the flow.
    """

    def decorate(function: Callable[P, L]) -> BulkFlow[P, L]:
        @wraps(function)
        def with_message(*args: P.args, **kwargs: P.kwargs) -> Any:
            try:
                result = function(*args, **kwargs)
            except RuddrError as error:
                if is_tried_again():
                    raise
                return failed(error)
            # Prefect takes the state for the run's, and gives the caller the result.
            return Completed(message=result.in_one_line(), data=result)

        runner: Any = ThreadPoolTaskRunner(max_workers=CONCURRENCY)
        return BulkFlow(with_message, name=name, task_runner=runner)

    return decorate
