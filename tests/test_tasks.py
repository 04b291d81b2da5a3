"""One Prefect task for each call: a name to find it by, nothing cached, nothing sent in vain."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from prefect import Task, flow, unmapped
from prefect.client.schemas.objects import TaskRun
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from prefect_ruddr import (
    InvalidStageUpdates,
    RuddrCredentials,
    Stage,
    StageNotFound,
    StageUpdate,
    aget_opportunity_stage,
    alist_opportunity_stages,
    aupdate_opportunity_stage,
    get_opportunity_stage,
    list_opportunity_stages,
    update_opportunity_stage,
)
from prefect_ruddr.sandbox import EXAMPLE_STAGE_ID, Sandbox

ID = UUID(EXAMPLE_STAGE_ID)
UPDATE = StageUpdate(id=ID, probability=0.8, description=None)

pytestmark = [
    pytest.mark.usefixtures("prefect_api"),
    # Prefect's word on tasks that are called outside of a flow, as they may be.
    pytest.mark.filterwarnings("ignore:Logger .* attempted to send logs to the API:UserWarning"),
]


@pytest.mark.parametrize(
    ("task", "name", "is_async"),
    [
        (update_opportunity_stage, "update-opportunity-stage", False),
        (aupdate_opportunity_stage, "update-opportunity-stage", True),
        (get_opportunity_stage, "get-opportunity-stage", False),
        (aget_opportunity_stage, "get-opportunity-stage", True),
        (list_opportunity_stages, "list-opportunity-stages", False),
        (alist_opportunity_stages, "list-opportunity-stages", True),
    ],
)
def test_a_task_and_its_async_version_have_one_name(
    task: Task[..., Any], name: str, *, is_async: bool
) -> None:
    """Prefect's UI shows what was done, async or not; and Prefect retries nothing."""
    assert (task.name, task.isasync, task.retries) == (name, is_async, 0)


def ended(task: Task[..., Any], *arguments: Any) -> tuple[str, Any]:
    """Run the task in a flow; return what its run was called, and how it ended."""
    names: list[str] = []

    def note(_: Any, run: TaskRun, __: Any) -> None:
        names.append(run.name)

    noted = task.with_options(on_completion=[note], on_failure=[note])

    @flow
    def run() -> tuple[str, Any]:
        state = noted(*arguments, return_state=True)
        return names.pop(), state

    return run()


SAME_UPDATE: list[Any] = [
    pytest.param(UPDATE, id="StageUpdate"),
    pytest.param({"id": ID, "probability": 0.8, "description": None}, id="mapping"),
    pytest.param({"id": str(ID), "probability": 0.8, "description": ""}, id="row of texts"),
    pytest.param(
        {**UPDATE.model_dump(mode="json"), "created_at": "2025-02-10T09:15:42.891Z"},
        id="of a stage that was read",
    ),
]


@pytest.mark.parametrize("update", SAME_UPDATE)
def test_an_update_may_be_a_mapping(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, update: Any
) -> None:
    """The same PATCH, whichever it was."""
    stage = update_opportunity_stage(ruddr_credentials, update)
    assert (stage.id, stage.probability, stage.description) == (ID, 0.8, None)
    assert [r.body for r in sandbox.requests] == [b'{"description":null,"probability":0.8}']


@pytest.mark.parametrize("update", SAME_UPDATE)
async def test_the_async_version_does_the_same(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, update: Any
) -> None:
    """The same PATCH, the same answer."""
    stage = await aupdate_opportunity_stage(ruddr_credentials, update)
    assert (stage.id, stage.probability, stage.description) == (ID, 0.8, None)
    assert [r.body for r in sandbox.requests] == [b'{"description":null,"probability":0.8}']


@pytest.mark.parametrize("stage", [ID, EXAMPLE_STAGE_ID], ids=["UUID", "text"])
async def test_a_stage_is_read_by_its_id(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, stage: UUID | str
) -> None:
    """By the task and by its async version."""
    name = sandbox.stage(ID)["name"]
    assert (await aget_opportunity_stage(ruddr_credentials, stage)).name == name
    assert get_opportunity_stage(ruddr_credentials, stage).name == name


async def test_all_stages_are_listed_or_those_of_a_name(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """By the task and by its async version."""
    ids = [UUID(stage["id"]) for stage in sandbox.stages]
    assert [stage.id for stage in await alist_opportunity_stages(ruddr_credentials)] == ids
    assert [stage.id for stage in list_opportunity_stages(ruddr_credentials)] == ids
    assert len(await alist_opportunity_stages(ruddr_credentials, "Lost")) == 2
    assert len(list_opportunity_stages(ruddr_credentials, "Lost")) == 2


@pytest.mark.parametrize(
    ("task", "about", "name"),
    [
        pytest.param(update_opportunity_stage, UPDATE, f"update stage {ID}", id="update"),
        pytest.param(
            update_opportunity_stage,
            {"id": EXAMPLE_STAGE_ID, "name": "Haggling"},
            f"update stage {ID}",
            id="mapping",
        ),
        pytest.param(get_opportunity_stage, EXAMPLE_STAGE_ID, f"get stage {ID}", id="get"),
    ],
)
def test_a_task_run_is_named_by_its_stage(
    ruddr_credentials: RuddrCredentials, task: Task[..., Any], about: Any, name: str
) -> None:
    """Somebody who looks for a stage in Prefect's UI finds its task run."""
    called, state = ended(task, ruddr_credentials, about)
    assert (called, state.name) == (name, "Completed")


@pytest.mark.parametrize(
    ("update", "name", "why"),
    [
        pytest.param(
            {"id": str(ID), "probability": 1.5},
            f"update stage {ID}",
            "Invalid stage update: probability = 1.5: Input should be less than or equal to 1",
            id="out of range",
        ),
        pytest.param(
            {"id": "n" * 100, "name": "A"},
            f"update stage {'n' * 36}",
            "Invalid stage update: id = 'nnn",
            id="no id",
        ),
        pytest.param(
            None, "update stage None", "Invalid stage update: None is no update", id="nothing"
        ),
    ],
)
def test_what_cannot_be_sent_fails_the_task_run_and_sends_nothing(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials, update: Any, name: str, why: str
) -> None:
    """The state's message is the one line that says what to mend."""
    called, state = ended(update_opportunity_stage, ruddr_credentials, update)
    assert (called, state.name) == (name, "Failed")
    assert state.message is not None
    assert why in state.message
    assert len(state.message.splitlines()) == 1
    with pytest.raises(InvalidStageUpdates):
        state.result()
    assert sandbox.requests == []


def test_an_error_reaches_the_flow_in_its_class(ruddr_credentials: RuddrCredentials) -> None:
    """With all that is known of it."""

    @flow
    def change() -> str:
        future = get_opportunity_stage.submit(ruddr_credentials, UUID(int=0))
        with pytest.raises(StageNotFound) as caught:
            future.result()
        return f"{caught.value.status} {caught.value.stage_id}"

    assert change() == f"404 {UUID(int=0)}"


def test_the_same_update_twice_is_two_patches(
    sandbox: Sandbox, ruddr_credentials: RuddrCredentials
) -> None:
    """A write is never served from a cache, not even where results are kept."""

    @flow(persist_result=True)
    def change() -> None:
        for _ in range(2):
            update_opportunity_stage(ruddr_credentials, UPDATE)
            sandbox.edit(ID, probability=0.1)
        assert get_opportunity_stage(ruddr_credentials, ID).probability == 0.1
        sandbox.edit(ID, probability=0.2)
        assert get_opportunity_stage(ruddr_credentials, ID).probability == 0.2

    change()
    assert [request.method for request in sandbox.requests] == ["PATCH", "PATCH", "GET", "GET"]


def three_updates(sandbox: Sandbox) -> list[StageUpdate]:
    """Return updates with the description absent, null and set."""
    ids = [UUID(stage["id"]) for stage in sandbox.stages if stage["description"]][:3]
    return [
        StageUpdate(id=ids[0], probability=0.11),
        StageUpdate(id=ids[1], probability=0.12, description=None),
        StageUpdate(id=ids[2], probability=0.13, description="As mapped."),
    ]


def require_mapped(sandbox: Sandbox, credentials: RuddrCredentials, task_runner: Any) -> None:
    """Map the update over three stages in a runner and require that each got its own."""
    updates = three_updates(sandbox)
    kept = sandbox.stage(updates[0].id)["description"]

    @flow(task_runner=task_runner)
    def change() -> list[Stage]:
        return update_opportunity_stage.map(unmapped(credentials), updates).result()

    assert [(stage.id, stage.probability) for stage in change()] == [
        (update.id, update.probability) for update in updates
    ]
    descriptions = [sandbox.stage(update.id)["description"] for update in updates]
    assert descriptions == [kept, None, "As mapped."]
    assert len(sandbox.requests) == 3


def test_a_map_works_in_threads(sandbox: Sandbox, ruddr_credentials: RuddrCredentials) -> None:
    """Absent, null and a value stay three things."""
    require_mapped(sandbox, ruddr_credentials, ThreadPoolTaskRunner(max_workers=2))


@pytest.mark.long
def test_a_map_works_in_processes(sandbox: Sandbox, ruddr_credentials: RuddrCredentials) -> None:
    """Each process makes a client of its own."""
    require_mapped(sandbox, ruddr_credentials, ProcessPoolTaskRunner(max_workers=2))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_map_works_on_dask(sandbox: Sandbox, ruddr_credentials: RuddrCredentials) -> None:
    """On workers that are processes of their own."""
    # It takes seconds to import.
    from prefect_dask.task_runners import DaskTaskRunner  # noqa: PLC0415

    runner = DaskTaskRunner(
        cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    )
    require_mapped(sandbox, ruddr_credentials, runner)
