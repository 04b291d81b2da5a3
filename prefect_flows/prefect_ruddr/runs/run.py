"""What a run does from its input to its report, whichever flow it is the run of."""

from __future__ import annotations

from dataclasses import dataclass

from prefect_ruddr.credentials import RuddrCredentials
from prefect_ruddr.errors import RuddrError, RuddrRequestError, RunStopped
from prefect_ruddr.records.artifacts import current_flow_run_id
from prefect_ruddr.records.events import emit_plan
from prefect_ruddr.records.liveness import alive
from prefect_ruddr.records.plan_table import publish_plan
from prefect_ruddr.runs.applying import Applying, require_workspace
from prefect_ruddr.runs.approval import Question, refusal
from prefect_ruddr.runs.preparation import NotWritten, Preparation, Prepared
from prefect_ruddr.runs.reporting import name_run, publish_report, show_plan
from prefect_ruddr.runs.stopping import Stop, Watch
from prefect_ruddr.runs.turn import Turn
from prefect_ruddr.stages.outcome import (
    Ledger,
    Outcome,
    StageOutcome,
    StageReport,
    StageUpdatesFailed,
)


@dataclass(frozen=True)
class Manner:
    """How a run is carried out.

    Attributes:
        what: What it does, as a person says it: "apply 12 updates from stages.csv".
        question: Whether a person is to be asked about the plan.
        dry_run: Whether to stop when the plan is published.
        allow_overlap: Whether the run may write while another one writes to the workspace.
    """

    what: str
    question: Question
    dry_run: bool = False
    allow_overlap: bool = False


def carry_out(
    ruddr_credentials: RuddrCredentials, preparation: Preparation, manner: Manner
) -> StageReport:
    """Prepare, plan, publish, ask, write, look once more, report.

    Args:
        ruddr_credentials: The key to the workspace.
        preparation: Finds out what there is to write.
        manner: How to go about it.

    Raises:
        StageUpdatesFailed: When not every update is in effect; its `report` is whole.
    """
    name_run(f"dry run: {manner.what}" if manner.dry_run else manner.what)
    run = _Run(ruddr_credentials, preparation, manner)
    trouble: BaseException | None = None
    with alive(current_flow_run_id()), Watch(run.stop):
        try:
            run.go()
        except (RuddrRequestError, NotWritten, RunStopped) as error:
            run.why = str(error)
        except BaseException as error:  # noqa: BLE001  # every end leaves an account
            run.interrupted_by(error)
            trouble = error
        finally:
            run.turn.end()
        report = run.report()
        publish_report(report, run.prepared.plan, manner.what, ruddr_credentials)
    if isinstance(trouble, RuddrError) or not isinstance(trouble, Exception | None):
        raise trouble
    if not report.succeeded:
        raise StageUpdatesFailed(report.in_one_line(), report) from trouble
    return report


class _Run:
    """A run under way."""

    def __init__(
        self, ruddr_credentials: RuddrCredentials, preparation: Preparation, manner: Manner
    ) -> None:
        self._ruddr_credentials = ruddr_credentials
        self._preparation = preparation
        self._manner = manner
        self._ledger = Ledger()
        self._warnings: list[str] = []
        self.stop = Stop()
        self.turn = Turn(ruddr_credentials, self.stop, overlap=manner.allow_overlap)
        self.prepared = Prepared()
        self.why: str | None = None

    def go(self) -> None:
        self._prepare()
        plan = self.prepared.plan
        workspace = plan.workspace
        if workspace and not self._manner.dry_run and self.turn.take(workspace):
            # The run before may have changed what this one planned.
            self._prepare()
            plan = self.prepared.plan
        artifact = publish_plan(plan, dry_run=self._manner.dry_run)
        emit_plan(plan, dry_run=self._manner.dry_run)
        show_plan(plan, artifact)
        due: Outcome = "planned" if self._manner.dry_run else "not_attempted"
        self._ledger.settle(StageOutcome.of(change, due) for change in plan.changes)
        if plan.changes and not self._manner.dry_run:
            self._ask()
            self._write()

    def interrupted_by(self, error: BaseException) -> None:
        text = " ".join(str(error).split())
        self.why = f"the run was interrupted: {type(error).__name__}{text and f': {text}'}"

    def report(self) -> StageReport:
        return StageReport(
            outcomes=self._ledger.close(self._preparation.lines(), self.why),
            flow_run_id=current_flow_run_id(),
            workspace=self.prepared.plan.workspace,
            dry_run=self._manner.dry_run,
            warnings=tuple(self._warnings),
        )

    def _prepare(self) -> None:
        self._ledger = Ledger()
        self.prepared = self._preparation.prepare(self._ruddr_credentials, self._ledger)

    def _ask(self) -> None:
        plan, question = self.prepared.plan, self._manner.question
        is_asked = question.is_asked(plan)
        if is_asked:
            # A person may take an hour, and others need not wait for that.
            self.turn.end()
        if why_not := refusal(plan, question):
            raise NotWritten(f"nothing was written: {why_not}")
        if not is_asked:
            return
        require_workspace(self._ruddr_credentials, plan)
        if plan.workspace:
            self.turn.take(plan.workspace)

    def _write(self) -> None:
        applying = Applying(
            self._ruddr_credentials,
            self.prepared.order,
            self.prepared.listed,
            self._ledger,
            self.stop,
        )
        applying.run()
        if self.stop.reason:
            self.why = f"the run was stopped: {self.stop.reason}"
        elif warning := applying.look_once_more():
            self._warnings.append(warning)
