"""Agents of the bus, asked by the official SDK's client in each binding."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import (
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from tests.support.a2a.cast import Clerk, Narrator, Parrot, Sleeper
from tests.support.a2a.running import Running, running
from tests.support.a2a.sdk import said, sdk_client
from tests.support.agents.until import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")
WORKING, DONE = pb.TaskState.TASK_STATE_WORKING, pb.TaskState.TASK_STATE_COMPLETED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def endpoint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with running(Clerk, Narrator, Parrot, hosts=2) as found:
        found.log = tmp_path_factory.mktemp("sleeper") / "log"
        found.log.touch()
        await found.orc.spawn(Sleeper, path=str(found.log))
        yield found


async def events_of(client: Any, request: pb.SendMessageRequest) -> list[pb.StreamResponse]:
    return [event async for event in client.send_message(request)]


def texts(events: list[pb.StreamResponse]) -> str:
    return "".join(
        part.text
        for event in events
        if event.HasField("artifact_update")
        for part in event.artifact_update.artifact.parts
    )


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_message_is_a_task_whose_events_stream(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("narrator"), binding) as client:
        events = await events_of(client, said("a time"))
    assert events[0].HasField("task")
    states = [event.status_update.status.state for event in events if event.HasField("status_update")]
    assert states[-1] == DONE
    assert texts(events) == "once upon a time "
    assert sum(event.HasField("artifact_update") for event in events) == 4  # three words, and data


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_whole_answer(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("parrot"), binding, streaming=False) as client:
        (event,) = await events_of(client, said("hello"))
        assert event.task.status.state == DONE
        assert event.task.artifacts[0].parts[0].text == "user: hello"
        found = await client.get_task(pb.GetTaskRequest(id=event.task.id))
        assert found.artifacts == event.task.artifacts
        listed = await client.list_tasks(pb.ListTasksRequest(context_id=event.task.context_id, include_artifacts=True))
        assert [task.id for task in listed.tasks] == [event.task.id]
        assert listed.tasks[0].artifacts == event.task.artifacts


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_agent_asks_back_and_the_next_message_goes_on(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("clerk"), binding) as client:
        events = await events_of(client, said("a trip"))
        asked = events[-1].status_update
        assert asked.status.state == pb.TaskState.TASK_STATE_INPUT_REQUIRED
        assert asked.status.message.parts[0].text == "Where to?"
        events = await events_of(client, said("to Rome", task_id=asked.task_id, context_id=asked.context_id))
        assert events[0].task.id == asked.task_id
        assert events[-1].status_update.status.state == DONE
        assert texts(events).startswith("booked: a trip")
        assert texts(events).endswith("to Rome")
        with pytest.raises(UnsupportedOperationError):  # it has ended
            await events_of(client, said("again", task_id=asked.task_id))


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_conversation_goes_on_in_its_context(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("parrot"), binding, streaming=False) as client:
        (first,) = await events_of(client, said("one"))
        (second,) = await events_of(client, said("two", context_id=first.task.context_id))
        assert second.task.id != first.task.id
        assert second.task.artifacts[0].parts[0].text == "user: one | assistant: user: one | user: two"
        (alone,) = await events_of(client, said("three"))
        assert alone.task.artifacts[0].parts[0].text == "user: three"


@pytest.mark.parametrize("binding", BINDINGS)
async def test_cancelling_a_task_stops_its_agent(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("sleeper"), binding) as client:
        events = client.send_message(said(f"work {binding}"))
        task = (await anext(events)).task
        assert (await anext(events)).status_update.status.state == WORKING
        await until(lambda: f"work {binding}" in endpoint.log.read_text())
        cancelled = await client.cancel_task(pb.CancelTaskRequest(id=task.id))
        assert cancelled.status.state == pb.TaskState.TASK_STATE_CANCELED
        rest = [event async for event in events]
        assert rest[-1].status_update.status.state == pb.TaskState.TASK_STATE_CANCELED
        await until(lambda: endpoint.log.read_text().endswith("stopped\n"))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(pb.CancelTaskRequest(id=task.id))


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_that_leaves_comes_back_to_its_task(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("sleeper"), binding) as client:
        events = client.send_message(said("a long one"))
        task = (await anext(events)).task
        await events.aclose()
    async with sdk_client(endpoint.agent("sleeper"), binding) as client:
        again = client.subscribe(pb.SubscribeToTaskRequest(id=task.id))
        assert (await anext(again)).task.status.state == WORKING
        await client.cancel_task(pb.CancelTaskRequest(id=task.id))
        rest = [event async for event in again]
        assert rest[-1].status_update.status.state == pb.TaskState.TASK_STATE_CANCELED
        with pytest.raises(UnsupportedOperationError):
            [event async for event in client.subscribe(pb.SubscribeToTaskRequest(id=task.id))]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_agent_rejects_a_task(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("clerk"), binding) as client:
        last = (await events_of(client, said("to the moon")))[-1].status_update.status
    assert last.state == pb.TaskState.TASK_STATE_REJECTED
    assert last.message.parts[0].text == "nobody flies there"


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_agent_that_raises_fails_its_task(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("narrator"), binding) as client:
        events = await events_of(client, said("fail"))
    assert texts(events) == "once upon fail "
    last = events[-1].status_update.status
    assert last.state == pb.TaskState.TASK_STATE_FAILED
    assert "the pen broke" in last.message.parts[0].text


@pytest.mark.parametrize("binding", BINDINGS)
async def test_what_is_not_offered_is_refused_by_its_name(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("clerk"), binding) as client:
        with pytest.raises(TaskNotFoundError):
            await client.get_task(pb.GetTaskRequest(id="none"))
        with pytest.raises(PushNotificationNotSupportedError):
            await client.create_task_push_notification_config(
                pb.TaskPushNotificationConfig(task_id="none", url="http://127.0.0.1:1/")
            )
        with pytest.raises(PushNotificationNotSupportedError):
            await client.list_task_push_notification_configs(pb.ListTaskPushNotificationConfigsRequest(task_id="none"))


@pytest.mark.parametrize("binding", BINDINGS)
async def test_files_and_data_come_as_they_are(endpoint: Running, binding: str) -> None:
    async with sdk_client(endpoint.agent("clerk"), binding, streaming=False) as client:
        (event,) = await events_of(client, said("files"))
        ticket, text = event.task.artifacts[0].parts
        assert (ticket.raw, ticket.media_type, text.text) == (b"\x00ticket", "image/png", "a ticket")
        (event,) = await events_of(client, said("data"))
        assert dict(event.task.artifacts[0].parts[0].data.struct_value) == {"city": "Rome"}
