"""What the options of the command mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast

from cyclopts import Parameter, validators

from prefect_ruddr.api.address import environment_connection
from prefect_ruddr.clients import ruddr_api
from prefect_ruddr.errors import RuddrError
from prefect_ruddr.sources.cells import Blank
from prefect_ruddr.sources.opening import SourceFormat
from prefect_ruddr.stages.pipelines import PipelineNames
from prefect_ruddr.stages.plan import RISKY_PROBABILITY_CHANGE
from prefect_ruddr.stages.stage import FieldName
from prefect_ruddr.texts import one_line

if TYPE_CHECKING:
    from prefect_ruddr.api.ruddr_api import RuddrApi
    from prefect_ruddr.credentials import RuddrCredentials

Approval = Literal["never", "always", "risky"]
Output = Literal["text", "json"]
File = Annotated[str, Parameter(help="The file of updates, or a URL.")]
OnlyFields = Annotated[
    tuple[FieldName, ...],
    Parameter(help="The fields that may be set; once for each.", negative=()),
]
MostChanges = Annotated[
    int | None,
    Parameter(
        help="How many stages may change; for more, a person is asked where approvals are on.",
        validator=validators.Number(gte=0),
    ),
]
SwapNames = Annotated[bool, Parameter(help="Let stages swap their names.", negative=())]


class InvalidInput(RuddrError):
    """What was typed cannot be carried out."""


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """The workspace, and what its pipelines are called."""

    block: Annotated[
        str | None,
        Parameter(help="The Ruddr Credentials block with the key, instead of RUDDR_API_KEY."),
    ] = None
    pipeline: Annotated[
        tuple[str, ...],
        Parameter(
            help="What you call a pipeline, and its id: NAME=ID; once for each pipeline.",
            negative=(),
        ),
    ] = ()

    def opened(self) -> tuple[RuddrApi, PipelineNames]:
        """Return the workspace's calls and the names of its pipelines."""
        if self.block is None:
            return ruddr_api(environment_connection()), PipelineNames(self._pipelines())
        credentials = self.credentials()
        return credentials.get_client(), credentials.pipeline_names

    def credentials(self) -> RuddrCredentials:
        """Return the block; this loads Prefect."""
        from prefect_ruddr.credentials import RuddrCredentials  # noqa: PLC0415

        if self.block is None:
            credentials = RuddrCredentials.from_env()
        else:
            try:
                credentials = cast("RuddrCredentials", RuddrCredentials.load(self.block))
            except ValueError as error:
                raise InvalidInput(f"block {self.block}: {error}") from None
        names = credentials.pipeline_names.also(PipelineNames(self._pipelines()))
        return credentials.model_copy(update={"pipelines": dict(names.ids)})

    def _pipelines(self) -> dict[str, str]:
        named = {}
        for text in self.pipeline:
            name, equals, pipeline = text.rpartition("=")
            if not equals:
                raise InvalidInput(f"--pipeline {one_line(text, 80)}: write NAME=ID")
            named[name] = pipeline
        return named


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How a file is read."""

    format: Annotated[
        SourceFormat | None, Parameter(help="The format, where the name does not say it.")
    ] = None
    blank: Annotated[
        Blank, Parameter(help="Whether a blank description is left alone or cleared.")
    ] = "leave"
    null_marker: Annotated[str | None, Parameter(help="A text that means null.")] = None
    encoding: Annotated[str, Parameter(help="How a text file is encoded.")] = "utf-8"
    delimiter: Annotated[str, Parameter(help="What separates the cells of a CSV file.")] = ","


@Parameter(name="*")
@dataclass(frozen=True)
class Writing:
    """How a run goes about it."""

    dry_run: Annotated[bool, Parameter(help="Record the plan, and stop.", negative=())] = False
    approval: Annotated[Approval, Parameter(help="When a person is asked first.")] = "never"
    risky_probability_change: Annotated[
        float,
        Parameter(
            help="By how much, from 0 to 1, a win probability may move without being risky.",
            validator=validators.Number(gte=0, lte=1),
        ),
    ] = RISKY_PROBABILITY_CHANGE
    approval_timeout_seconds: Annotated[
        int,
        Parameter(
            help="How long to wait for the approval, in seconds.",
            validator=validators.Number(gte=1),
        ),
    ] = 3600
    swap_names: SwapNames = False
    allow_overlap: Annotated[
        bool, Parameter(help="Write while another run writes.", negative=())
    ] = False


ENVIRONMENT = Where()
"""The workspace that the environment names."""

AS_NAMED = Reading()
"""A file whose name says how it is read."""

WITHOUT_ASKING = Writing()
"""A run that writes its plan, and asks nobody."""
