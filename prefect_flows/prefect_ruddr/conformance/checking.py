"""Asks a Ruddr for everything that can be read, and compares each answer with the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from rich.text import Text

from prefect_ruddr.api.calls import Call
from prefect_ruddr.api.paging import PAGE_SIZE
from prefect_ruddr.api.raw import (
    STAGES,
    RawAnswer,
    raw_page,
    raw_stage,
    raw_update,
    raw_workspace,
)
from prefect_ruddr.api.ruddr_api import RuddrApi
from prefect_ruddr.conformance.comparing import (
    Difference,
    compare,
    compare_order,
    compare_stages,
    id_of,
    read_body,
)
from prefect_ruddr.errors import ErrorResponse, StageNotFound, UnexpectedResponse
from prefect_ruddr.texts import count

ONE = f"{STAGES}/{{id}}"


@dataclass
class CheckedCall:
    """A call, and what its answers came to.

    Attributes:
        call: The call as the contract names it, such as `GET /workspace`.
        answers: How many answers were compared.
        differences: What is not as the contract says.
        note: What else is worth knowing.
    """

    call: str
    answers: int = 0
    differences: list[Difference] = field(default_factory=list)
    note: str = ""

    def lines(self) -> Iterator[str]:
        """Yield a line for each kind of difference, with the number of stages it was seen on."""
        kinds: dict[tuple[str, str], list[UUID]] = {}
        for found in self.differences:
            stage_ids = kinds.setdefault((found.place, found.what), [])
            if found.stage_id and found.stage_id not in stage_ids:
                stage_ids.append(found.stage_id)
        for (place, what), stage_ids in kinds.items():
            where = f" ({_stages(stage_ids)})" if stage_ids else ""
            yield f"{self.call}: {place}: {what}{where}"


@dataclass
class Check:
    """What a Ruddr was found to be.

    Attributes:
        hide: Returns a text without the key.
        calls: The calls, in the order in which they were made.
    """

    hide: Callable[[str], str]
    calls: list[CheckedCall] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return not any(call.differences for call in self.calls)

    def lines(self) -> list[str]:
        """Return every difference as a line that can be made public."""
        return [self.hide(line) for call in self.calls for line in call.lines()]

    def table(self) -> Text:
        """Return what agrees and what does not, a line for each call."""
        width = max(len(call.call) for call in self.calls)
        text = Text()
        for call in self.calls:
            number = len(list(call.lines()))
            verdict = count(number, "difference") if number else "agrees"
            text.append(f"{call.call.ljust(width)}  {count(call.answers, 'answer'):>11}  ")
            text.append(verdict, "bold red" if number else "green")
            text.append(f"  {call.note}\n" if call.note else "\n")
        text.right_crop(1)
        return text


def check_contract(api: RuddrApi, write: UUID | None = None) -> Check:
    """Compare a workspace's answers with `openapi.yaml`.

    Reads the workspace, every page of stages, one stage, and one that does not exist. Nothing is
    written unless `write` names a stage: then one PATCH sets its probability to the value it has,
    and the stage is read back.

    Args:
        api: The workspace.
        write: The stage to send the PATCH to, or None.

    Raises:
        RuddrRequestError: When Ruddr refuses a call or does not answer it.
    """
    check = _Checking(api)
    check.workspace()
    stages = check.pages()
    check.one(stages)
    check.none()
    if write is not None:
        check.write(write)
    return check.found


class _Checking:
    def __init__(self, api: RuddrApi) -> None:
        self._api = api
        self.found = Check(api.without_key)

    def workspace(self) -> None:
        self._ask(self._new("GET /workspace"), raw_workspace(), "Workspace")

    def pages(self) -> list[Any]:
        checked = self._new(f"GET {STAGES}")
        stages: list[Any] = []
        after: UUID | None = None
        asked: set[UUID | None] = set()
        more = True
        while more:
            asked.add(after)
            body = self._ask(checked, raw_page(after), "OpportunityStagePage")
            page = body.get("results") if isinstance(body, dict) else None
            results = page if isinstance(page, list) else []
            stages += results
            if len(results) > PAGE_SIZE:
                what = f"has {len(results)} stages, and the limit asked for was {PAGE_SIZE}"
                checked.differences.append(Difference("results", what))
            more = isinstance(body, dict) and body.get("hasMore") is True
            after = id_of(results[-1]) if results else None
            if more and (after is None or after in asked):
                what = "is true, but the page has no new last stage to go on from"
                checked.differences.append(Difference("hasMore", what))
                more = False
        checked.differences += compare_order(stages)
        checked.note = count(len(stages), "stage")
        without = sum("opportunityPipelineId" not in s for s in stages if isinstance(s, dict))
        if without:
            checked.note += f", {without} without opportunityPipelineId, which may be left out"
        return stages

    def one(self, stages: Iterable[Any]) -> None:
        checked = self._new(f"GET {ONE}")
        listed = next((stage for stage in stages if id_of(stage)), None)
        stage_id = id_of(listed)
        if stage_id is None:
            checked.note = "not asked, as no stage was listed"
            return
        stage = self._ask(checked, raw_stage(stage_id), "OpportunityStage", stage_id)
        checked.differences += compare_stages(listed, stage, "in the list")

    def none(self) -> None:
        checked = self._new(f"GET {ONE} of no stage")
        try:
            self._ask(checked, raw_stage(uuid4()), "OpportunityStage")
        except StageNotFound:
            checked.answers += 1
        except ErrorResponse as error:
            if error.status == 429 or error.ends_run or error.retryable:
                raise
            checked.answers += 1
            what = f"is {error.status}, and the contract says 404"
            checked.differences.append(Difference("the status", what))
        else:
            if not checked.differences:
                checked.differences.append(
                    Difference("the status", "is 200, and the contract says 404")
                )

    def write(self, stage_id: UUID) -> None:
        checked = self._new(f"PATCH {ONE}")
        reading = CheckedCall("")
        before = self._ask(reading, raw_stage(stage_id), "OpportunityStage", stage_id)
        if before is None or any(found.place == "probability" for found in reading.differences):
            checked.note = "not sent, as the stage holds no probability that could be sent"
            return
        body = {"probability": before["probability"]}
        after = self._ask(checked, raw_update(stage_id, body), "OpportunityStage", stage_id)
        checked.differences += compare_stages(before, after, "before the PATCH")
        checked.note = f"probability set to the {before['probability']} that it was"
        read_back = self._new(f"GET {ONE} after the PATCH")
        held = self._ask(read_back, raw_stage(stage_id), "OpportunityStage", stage_id)
        read_back.differences += compare_stages(before, held, "before the PATCH")

    def _new(self, call: str) -> CheckedCall:
        checked = CheckedCall(call)
        self.found.calls.append(checked)
        return checked

    def _ask(
        self, checked: CheckedCall, call: Call[RawAnswer], schema: str, about: UUID | None = None
    ) -> Any:
        """Return the body of an answer that could be read, and note what differs in it."""
        try:
            answer = self._api.raw(call)
        except UnexpectedResponse as error:
            if error.status is None:
                raise
            what = f"is {error.status} in a form that the contract does not have"
            checked.differences.append(Difference("the status", what, about))
            checked.answers += 1
            return None
        checked.answers += 1
        body, found = read_body(answer)
        checked.differences += found
        if not any(each.place == "the body" for each in found):
            checked.differences += compare(body, schema, about)
        return body


def _stages(stage_ids: list[UUID]) -> str:
    if len(stage_ids) == 1:
        return f"stage {stage_ids[0]}"
    return f"{len(stage_ids)} stages, such as {stage_ids[0]}"
