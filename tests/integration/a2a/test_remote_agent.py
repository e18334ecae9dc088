"""Agents on the official SDK's server, by our client and as agents on the bus."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.a2a.sdk import Storyteller, sdk_server
from three_mode import LLMRequest, Orchestrator
from three_mode.a2a import (
    A2AAgent,
    A2AClient,
    A2AClientOptions,
    A2AMessage,
    ArtifactUpdate,
    StatusUpdate,
    Task,
    TaskState,
)
from three_mode.a2a.agent import A2AReply
from three_mode.errors import (
    BadReply,
    ConfigurationError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    ServerError,
    UnsupportedParameter,
)
from three_mode.messages import Finish, fold

pytestmark = pytest.mark.asyncio(loop_scope="module")
BINDINGS = ("JSONRPC", "HTTP+JSON", "GRPC")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BINDINGS)
async def peer(request: pytest.FixtureRequest) -> AsyncIterator[tuple[str, Storyteller]]:
    async with sdk_server(request.param) as found:
        yield found


@pytest.fixture
def url(peer: tuple[str, Storyteller]) -> str:
    return peer[0]


async def test_a_message_and_its_task(url: str) -> None:
    async with A2AClient(url) as client:
        card = await client.card()
        assert (card.name, card.capabilities.streaming) == ("storyteller", True)
        task = await client.send("a time", within=10)
        assert isinstance(task, Task)
        assert task.status.state is TaskState.COMPLETED
        assert [artifact.text for artifact in task.artifacts or ()] == ["once upon a time", "The end."]
        again = await client.task(task.id)
        assert again.text == task.text
        listed = await client.tasks()
        assert task.id in [one.id for one in listed.tasks]


async def test_events_come_one_by_one(url: str) -> None:
    async with A2AClient(url) as client, client.stream("a time", within=10) as events:
        seen = [event async for event in events]
    assert isinstance(seen[0], Task)
    pieces = [event.artifact.text for event in seen if isinstance(event, ArtifactUpdate)]
    assert pieces == ["once ", "upon ", "a time", "The end."]
    assert isinstance(seen[-1], StatusUpdate)
    assert seen[-1].status.state is TaskState.COMPLETED


async def test_an_answer_without_a_task(url: str) -> None:
    async with A2AClient(url) as client:
        found = await client.send("message", within=10)
    assert isinstance(found, A2AMessage)
    assert found.text == "no task"


async def test_a_task_that_asks_goes_on(url: str) -> None:
    async with A2AClient(url) as client:
        asked = await client.send("ask", within=10)
        assert isinstance(asked, Task)
        assert asked.status.state is TaskState.INPUT_REQUIRED
        assert asked.text == "About what?"
        done = await client.send("cats", task=asked.id, context=asked.context_id, within=10)
        assert isinstance(done, Task)
        assert (done.id, done.status.state) == (asked.id, TaskState.COMPLETED)
        assert "upon cats" in done.text


async def test_leaving_a_call_cancels_the_task_there(peer: tuple[str, Storyteller]) -> None:
    url, agent = peer
    agent.cancelled.clear()
    async with A2AClient(url) as client:
        with pytest.raises(DeadlineExceeded):
            await client.send("forever", within=0.5)
        await asyncio.wait_for(agent.cancelled.wait(), 5)
        agent.cancelled.clear()
        async with client.stream("forever", within=30) as events:
            assert isinstance(await anext(events), Task)
            await anext(events)
        await asyncio.wait_for(agent.cancelled.wait(), 5)


async def test_what_the_server_refuses_has_its_name(url: str) -> None:
    async with A2AClient(url) as client:
        with pytest.raises(NotFound):
            await client.task("none")
        with pytest.raises(NotFound):
            await client.send("x", task="none", within=5)
        task = await client.send("a time", within=10)
        assert isinstance(task, Task)
        with pytest.raises(InvalidRequest):
            await client.cancel(task.id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def orc(peer: tuple[str, Storyteller]) -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as found:
        await found.spawn(A2AAgent, name="teller", url=peer[0])
        yield found


async def test_an_agent_on_the_bus_like_any_other(orc: Orchestrator) -> None:
    teller = orc.any("teller")
    sent = await teller.ask(A2AAgent.send, "a time", within=10)
    assert isinstance(sent, A2AReply)
    assert sent.text == "once upon a time\n\nThe end."
    async with teller.stream(A2AAgent.stream, "a time", within=10) as events:
        seen = [event.event async for event in events]
    assert isinstance(seen[0], Task)
    assert isinstance(seen[-1], StatusUpdate)
    task = sent.task
    assert task is not None
    assert (await teller.ask(A2AAgent.task, task.id, within=5)).id == task.id
    assert (await teller.ask("send", "message", within=5))["message"]["parts"][0]["text"] == "no task"


async def test_a_model_like_any_other(orc: Orchestrator, peer: tuple[str, Storyteller]) -> None:
    request = LLMRequest(model="agent:teller", messages=[{"role": "user", "content": "a time"}], within=10)
    reply = await orc.llm.chat_completion(request)
    assert reply.content == "once upon a time\n\nThe end."
    assert reply.extra["a2a"]["state"] == "TASK_STATE_COMPLETED"
    async with orc.llm.stream(request) as chunks:
        seen = [chunk async for chunk in chunks]
    assert fold(seen).content == reply.content
    assert isinstance(seen[-1], Finish)
    assert seen[-1].extra["a2a"]["taskId"]


async def test_a_model_that_asks_back(orc: Orchestrator, peer: tuple[str, Storyteller]) -> None:
    request = LLMRequest(model="agent:teller", messages=[{"role": "user", "content": "ask"}], within=10)
    asked = await orc.llm.chat_completion(request)
    assert asked.content == "About what?"
    goes_on = {name: asked.extra["a2a"][name] for name in ("taskId", "contextId")}
    request = LLMRequest(
        model="agent:teller",
        messages=[*request.messages, asked.message, {"role": "user", "content": "cats"}],
        extra=goes_on,
        within=10,
    )
    told = await orc.llm.chat_completion(request)
    assert told.content.startswith("once upon cats")
    assert peer[1].seen[-1].parts[0].text == "cats"  # the server knows what was said before


async def test_an_agent_that_keeps_nothing_is_told_what_was_said(
    orc: Orchestrator, peer: tuple[str, Storyteller]
) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    await orc.llm.chat_completion(LLMRequest(model="agent:teller", messages=messages, within=10))
    assert [part.text for part in peer[1].seen[-1].parts] == [
        "System: Be brief.\n\nUser: one\n\nAssistant: two",
        "three",
    ]


async def test_what_an_agent_cannot_do_is_an_error(orc: Orchestrator) -> None:
    said = [{"role": "user", "content": "fail"}]
    with pytest.raises(ServerError, match="out of ink"):
        await orc.llm.chat_completion(LLMRequest(model="agent:teller", messages=said, within=10))
    said = [{"role": "user", "content": "reject"}]
    with pytest.raises(InvalidRequest, match="not my kind of story"):
        await orc.llm.chat_completion(LLMRequest(model="agent:teller", messages=said, within=10))
    with pytest.raises(UnsupportedParameter, match="response_format"):
        await orc.llm.chat_completion(
            LLMRequest(model="agent:teller", messages=said, response_format="json", within=10)
        )


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_server_that_does_not_stream(binding: str) -> None:
    async with sdk_server(binding, streaming=False) as (url, _), A2AClient(url) as client:
        task = await client.send("a time", within=10)
        assert isinstance(task, Task)
        assert task.text == "once upon a time\n\nThe end."


async def test_the_first_interface_that_is_spoken_is_used() -> None:
    async with sdk_server("GRPC", "HTTP+JSON", "JSONRPC") as (url, _):
        for wanted, chosen in ((None, "HTTP+JSON"), ("GRPC", "GRPC"), ("JSONRPC", "JSONRPC")):
            async with A2AClient(url, options=A2AClientOptions(binding=wanted)) as client:
                await client.card()
                interface = client._interface
                assert interface is not None
                assert interface.protocol_binding == chosen
    async with sdk_server("JSONRPC") as (url, _), A2AClient(url, options=A2AClientOptions(binding="GRPC")) as client:
        with pytest.raises(BadReply, match="asked for"):
            await client.card()
    with pytest.raises(ConfigurationError, match="no binding"):
        A2AClientOptions(binding="SOAP")


async def test_a_key_goes_to_no_other_port_for_grpc() -> None:
    async with sdk_server("GRPC") as (url, _), A2AClient(url, key="the-key-of-one") as client:
        with pytest.raises(BadReply, match="do not go"):
            await client.send("a time", within=5)
