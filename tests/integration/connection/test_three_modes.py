"""One request, three modes: the same object, the same reply, the same errors, whatever carries it."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.agents.model import Model
from three_mode.connection import ConnectionOptions
from three_mode.dispatcher import AGENT, LOCAL
from three_mode.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModeConflict,
    ModeUnavailable,
    NoSuchAgent,
    NotFound,
    PeerLost,
    StreamInterrupted,
    UnsupportedParameter,
)
from three_mode.messages import Chunk, Finish, Start, Text, TextDelta, UsageUpdate
from three_mode.modes import CommunicationMode
from three_mode.policies import FallbackOptions, Policies, Target
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import ScriptedProvider

ECHO = "Repeat: apple"


def request(model: str, text: str = ECHO, **fields: Any) -> LLMRequest:
    return LLMRequest(
        model=model,
        messages=[{"role": "user", "content": text}],
        max_tokens=24,
        temperature=0,
        **{"within": 20, **fields},
    )


class Echo(Agent):
    """An agent that is a model because it has the handler; it does not stream."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        if request.messages[-1].text == "sleep":
            await asyncio.sleep(30)
        if request.messages[-1].text == "time left":
            return LLMResponse(parts=(Text(str(self.remaining())),), model="echo")
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="echo")


class Faltering(Agent):
    """Begins an answer and does not end it."""

    @handler(concurrent=64)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        if request.messages[-1].text != "nothing":
            yield [Start("faltering"), TextDelta("so far")]
        await asyncio.sleep(30)


class Asker(Agent):
    """An agent that asks a model."""

    @handler
    async def ask(self, text: str) -> str:
        reply = await self.llm.chat_completion(request("agent:brain", text, within=None))
        return str(reply.content)

    @handler
    async def through(self, agent: str, text: str) -> str:
        """Asks another agent, which asks a model: three calls that wait for one another, and one deadline."""
        if agent:
            return str(await self.ref(agent).ask(Asker.through, "", text))
        reply = await self.llm.chat_completion(request("agent:echo", text, within=None))
        return str(reply.content)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Echo, 2, name="echo")
        await orc.spawn(Asker, 8, name="asker")
        await orc.spawn(Faltering, name="faltering")
        await orc.model("tiny", name="brain")
        yield orc


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_same_request_gets_the_same_answer_in_the_process_and_over_the_bus(
    city: Orchestrator,
) -> None:
    async with LLMConnection() as here:
        local = await here.chat_completion(request("tiny"))
    over = await city.llm.chat_completion(request("agent:brain"))
    assert local.content == over.content != ""
    assert (local.mode, local.provider, local.model) == (CommunicationMode.AI_PC, LOCAL, "tiny")
    assert (over.mode, over.provider, over.model) == (CommunicationMode.AI_AI, AGENT, "tiny")
    assert local.usage.output_tokens == over.usage.output_tokens > 0


async def test_streams_of_both_have_a_start_a_usage_and_a_finish(city: Orchestrator) -> None:
    for model in ("tiny", "agent:brain"):
        async with city.llm.stream(request(model)) as stream:
            chunks = [chunk async for chunk in stream]
        kinds = [type(chunk) for chunk in chunks]
        assert kinds[0] is Start
        assert kinds[-2:] == [UsageUpdate, Finish]
        assert "".join(chunk.text for chunk in chunks) == (await city.llm.chat_completion(request(model))).content


async def test_any_agent_with_the_handler_is_a_model(city: Orchestrator) -> None:
    assert (await city.llm.chat_completion(request("agent:echo"))).content == ECHO
    assert (await city.llm.chat_completion(request("agent:echo/1"))).content == ECHO
    named = LLMRequest(model="echo", messages=[{"role": "user", "content": "x"}], mode=CommunicationMode.AI_AI)
    assert (await city.llm.chat_completion(named)).content == "x"


async def test_one_model_serves_many_agents_at_once(city: Orchestrator) -> None:
    answers = await city.group("asker").gather(Asker.ask, ECHO, within=20)
    assert len(answers.values) == 8
    assert len(set(answers.values.values())) == 1


async def test_a_deadline_reaches_the_agent(city: Orchestrator) -> None:
    with pytest.raises(DeadlineExceeded):
        await city.llm.chat_completion(request("agent:echo", "sleep", within=0.2))


async def test_a_stream_that_its_deadline_cuts_keeps_what_came(city: Orchestrator) -> None:
    with pytest.raises(StreamInterrupted) as cut:
        async for _ in city.llm.stream(request("agent:faltering", within=0.4)):
            pass
    assert isinstance(cut.value.__cause__, DeadlineExceeded)
    assert cut.value.partial is not None
    assert cut.value.partial.content == "so far"
    with pytest.raises(DeadlineExceeded):
        async for _ in city.llm.stream(request("agent:faltering", "nothing", within=0.2)):
            pass


async def test_a_model_streams_its_start_with_its_first_content(city: Orchestrator) -> None:
    stream = city.ref("brain/0").stream(Model.stream_completion, request("tiny"), within=20)
    batches = [batch async for batch in stream]
    assert [type(chunk) for chunk in batches[0][:2]] == [Start, TextDelta]
    assert all(batches), "no message without a chunk"
    assert type(batches[-1][-1]) is Finish


async def test_a_model_on_the_bus_refuses_what_it_cannot_read(city: Orchestrator) -> None:
    asked = request("agent:brain", extra={"no_such_option": 1})
    with pytest.raises(UnsupportedParameter, match="no_such_option"):
        async for _ in city.llm.stream(asked):
            pass
    assert (await city.llm.chat_completion(request("agent:brain"))).content, "and goes on"


async def test_a_deadline_goes_from_agent_to_agent_to_the_model(city: Orchestrator) -> None:
    left = float(await city.ref("asker/0").ask(Asker.through, "asker/1", "time left", within=3.0))
    assert 0 < left < 3.0  # not the default of a call that names none
    begun = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await city.ref("asker/0").ask(Asker.through, "asker/1", "sleep", within=0.3)
    assert asyncio.get_running_loop().time() - begun < 3.0
    assert await city.ref("asker/1").ask(Asker.through, "", "free again", within=3.0) == "free again"


async def test_what_is_not_there_says_what_to_do(city: Orchestrator) -> None:
    with pytest.raises(NoSuchAgent, match=r"orc\.model"):
        await city.llm.chat_completion(request("agent:nobody"))
    with pytest.raises(NoSuchAgent, match="is no model"):
        await city.llm.chat_completion(request("agent:asker"))
    with pytest.raises(NotFound):
        await city.llm.chat_completion(request("gguf:no/such/file.gguf"))
    with pytest.raises(ModeConflict):
        await city.llm.chat_completion(request("agent:brain", mode=CommunicationMode.AI_PC))
    async with LLMConnection() as alone:
        with pytest.raises(InvalidRequest, match="AI_PC needs a model"):
            await alone.chat_completion(
                LLMRequest(messages=[{"role": "user", "content": "x"}], mode=CommunicationMode.AI_PC)
            )


async def test_without_a_bus_of_its_own_a_connection_speaks_on_the_one_that_is_here(
    city: Orchestrator,
) -> None:
    async with LLMConnection() as own:
        assert (await own.chat_completion(request("agent:echo"))).content == ECHO

    async def elsewhere() -> None:
        async with LLMConnection() as alone:
            await alone.chat_completion(request("agent:echo"))

    with pytest.raises(ModeUnavailable, match=r"no bus here .*bus=orc\.bus"):
        await asyncio.to_thread(asyncio.run, elsewhere())
    async with Orchestrator(hosts=1), LLMConnection() as torn:
        with pytest.raises(ModeUnavailable, match=r"several buses here .*bus=orc\.bus"):
            await torn.chat_completion(request("agent:echo"))


async def test_local_answers_when_the_remote_cannot(city: Orchestrator) -> None:
    policies = Policies(fallback=FallbackOptions(targets=(Target(LOCAL, "tiny"),)))
    unreachable = f"http://127.0.0.1:{free_port()}/v1"
    async with LLMConnection(
        base_url=unreachable, model="remote", policies=policies, options=ConnectionOptions()
    ) as llm:
        reply = await llm.chat_completion(LLMRequest(messages=[{"role": "user", "content": ECHO}], within=20))
    assert (reply.provider, reply.mode) == (LOCAL, CommunicationMode.AI_PC)
    assert any(step.kind == "switched" for step in reply.steps)


async def test_a_remote_model_answers_when_an_agent_or_a_local_one_cannot(city: Orchestrator) -> None:
    policies = Policies(fallback=FallbackOptions(targets=(Target("custom", "m"),)))
    async with (
        ScriptedProvider("http/1.1") as provider,
        LLMConnection(base_url=provider.url + "/v1", policies=policies, bus=city.bus) as llm,
    ):
        assert (await llm.chat_completion(request("tiny"))).mode is CommunicationMode.AI_PC, "local first"
        assert not provider.seen
        for model in ("gguf:no/such/file.gguf", "agent:nobody"):
            reply = await llm.chat_completion(request(model))
            assert (reply.content, reply.mode) == ("Hello world!", CommunicationMode.HUMAN_AI)
            assert any(step.kind == "switched" for step in reply.steps)


async def test_the_endpoint_serves_agents_and_local_models(city: Orchestrator) -> None:
    port = free_port()
    app = App(Connected(city.llm, city.bus), ServeOptions(port=port))
    url = f"http://127.0.0.1:{port}/v1"
    async with serve(app), openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as sdk:
        listed = {model.id for model in (await sdk.models.list()).data}
        assert {"tiny", "agent:brain", "agent:echo"} <= listed
        assert "agent:asker" not in listed  # it is no model
        for model in ("tiny", "agent:brain", "agent:echo"):
            messages: Any = [{"role": "user", "content": ECHO}]
            whole = await sdk.chat.completions.create(model=model, messages=messages, temperature=0)
            streamed = await sdk.chat.completions.create(model=model, messages=messages, temperature=0, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in streamed])
            assert text == whole.choices[0].message.content != ""
        assert len((await sdk.embeddings.create(model="tiny", input="some words")).data[0].embedding) > 8
        with pytest.raises(openai.NotFoundError):
            await sdk.chat.completions.create(model="agent:nobody", messages=messages)


async def test_a_models_process_that_is_killed_comes_back(city: Orchestrator) -> None:
    brain = await city.model("tiny", name="mortal")
    assert (await city.llm.chat_completion(request("agent:mortal"))).content
    table = await city.table()
    host = next(agent.host for agent in table.agents if agent.name == "mortal/0")
    pid = next(report.pid for report in table.hosts if report.label == host)
    os.kill(pid, signal.SIGKILL)
    asked = asyncio.gather(
        *(city.llm.chat_completion(request("agent:mortal", within=10)) for _ in range(8)),
        return_exceptions=True,
    )
    outcomes = await asyncio.wait_for(asked, 15)
    for outcome in outcomes:
        assert isinstance(outcome, LLMResponse | PeerLost | NoSuchAgent | DeadlineExceeded), outcome
    async with asyncio.timeout(20):
        while True:
            try:
                reply = await city.llm.chat_completion(request("agent:mortal"))
            except (PeerLost, NoSuchAgent):
                await asyncio.sleep(0.1)
            else:
                break
    assert reply.content
    assert brain.address == "agent:mortal"


async def test_events_of_agents_reach_the_endpoint(city: Orchestrator) -> None:
    from three_mode.serve.events import EventHub
    from three_mode.serve.system_events import tell_of_agents

    hub = EventHub()
    reader = hub.open()
    watch = tell_of_agents(city.bus, hub)
    try:
        await city.spawn(Echo, 3, name="late")
        event = json.loads(await asyncio.wait_for(reader.get(), 5))
        assert event["type"] == "agents_joined"
        assert event["data"]["agents"] == ["late/0", "late/1", "late/2"]
    finally:
        watch.close()
        hub.close(reader)


async def test_the_command_serves_until_it_is_told_to_stop(city: Orchestrator) -> None:
    import sys

    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        "serve",
        "--port",
        str(port),
        "--bus",
        city.bus.name,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        assert b"serving on" in await asyncio.wait_for(process.stderr.readline(), 20)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            body = {"model": "agent:echo", "messages": [{"role": "user", "content": "over the bus"}]}
            reply = await http.post("/v1/chat/completions", json=body)
            assert reply.json()["choices"][0]["message"]["content"] == "over the bus"
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
