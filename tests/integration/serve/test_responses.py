"""OpenAI's responses by the official openai SDK: each kind of model behind the endpoint, whole, streamed and kept."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel

from tests.support.conversations.talking import asked, echo
from tests.support.providers.servers import connected
from tests.support.serve.endpoint import Endpoint, endpoint, free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.conversations import Conversations
from three_mode.messages import Chunk, Text, Thinking, ToolCall, Usage, chunks_of
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.conversations import ConversationBackend
from three_mode.testing import ScriptedProvider, Turn
from three_mode.testing import ToolCall as ScriptedCall

pytestmark = pytest.mark.asyncio(loop_scope="module")
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS: Any = [{"type": "function", "name": "weather", "parameters": PARAMETERS, "strict": False}]
TEXT, CALL = "Repeat: apple", "What is the weather in Paris?"


class Clerk(Agent):
    """An agent of ordinary code that is a model: it thinks, answers, and calls tools until it has a result."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        last = request.messages[-1]
        if last.role == "tool":
            thought = [part for message in request.messages for part in message.parts if isinstance(part, Thinking)]
            said = f"it is {last.parts[0].content} ({len(thought)} thoughts)"  # type: ignore[union-attr]
            return LLMResponse(parts=(Text(said),), model="clerk")
        thought = Thinking("Where is it?", signature="proof", provider="clerk")  # type: ignore[assignment]
        if request.tools:
            call = ToolCall("call_1", request.tools[0].name, {"city": "Paris"})
            return LLMResponse(
                parts=(thought, call),
                model="clerk",
                finish_reason="tool_calls",
                usage=Usage(4, 2),  # type: ignore[arg-type]
            )
        return LLMResponse(parts=(Text(last.text),), model="clerk", usage=Usage(4, 2))

    @handler(concurrent=64)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        for chunk in chunks_of(await self.chat_completion(request)):
            yield [chunk]


def provider_turn(seen: Any) -> Turn:
    """It calls the tool that it is offered until it has its result, and repeats otherwise."""
    last = seen.json["messages"][-1]
    if last["role"] == "tool":
        return Turn(text=("it is ", last["content"]))
    if seen.json.get("tools"):
        return Turn(text=(), tool_calls=(ScriptedCall("weather", {"city": "Paris"}),))
    return Turn(text=("app", "le"))


@dataclass
class Running:
    """The endpoint, and what stands behind it."""

    url: str
    provider: ScriptedProvider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=1) as orc:
        provider.always(provider_turn)
        await orc.spawn(Clerk, name="clerk")
        async with LLMConnection(base_url=provider.url + "/v1", bus=orc.bus) as llm:
            async with serve(App(Connected(llm, orc.bus), ServeOptions(port=port))):
                yield Running(f"http://127.0.0.1:{port}/v1", provider)


def client(url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=url, api_key="unused", max_retries=0)


@pytest.mark.parametrize("model", ["gpt-5", "tiny", "agent:clerk"])
async def test_whole_and_streamed(running: Running, model: str) -> None:
    async with client(running.url) as sdk:
        whole = await sdk.responses.create(model=model, input=TEXT, temperature=0, max_output_tokens=16)
        events = [
            event
            async for event in await sdk.responses.create(
                model=model, input=TEXT, temperature=0, max_output_tokens=16, stream=True
            )
        ]
    assert (whole.object, whole.status, whole.error) == ("response", "completed", None)
    assert "apple" in whole.output_text
    assert whole.usage is not None
    assert whole.usage.total_tokens > 0
    assert whole.max_output_tokens == 16
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    final = events[-1].response  # type: ignore[union-attr]
    assert deltas == final.output_text == whole.output_text
    assert final.usage is not None
    assert final.usage.total_tokens == whole.usage.total_tokens
    assert events[0].response.id == final.id  # type: ignore[union-attr]


@pytest.mark.parametrize("model", ["gpt-5", "agent:clerk"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_function_call_makes_its_round(running: Running, model: str, stream: bool) -> None:
    async with client(running.url) as sdk:
        given: Any = [{"role": "user", "content": CALL}]
        more: Any = {"include": ["reasoning.encrypted_content"], "instructions": "Be brief.", "tools": TOOLS}
        if stream:
            async with sdk.responses.stream(model=model, input=given, **more) as events:
                kinds = [event.type async for event in events]
                first: Any = await events.get_final_response()
            assert "response.function_call_arguments.delta" in kinds
            assert "response.function_call_arguments.done" in kinds
            assert ("response.reasoning_summary_text.delta" in kinds) == (model == "agent:clerk")
        else:
            first = await sdk.responses.create(model=model, input=given, **more)
        (call,) = [item for item in first.output if item.type == "function_call"]
        assert (call.name, json.loads(call.arguments), call.status) == ("weather", {"city": "Paris"}, "completed")
        back = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output]
        given += [*back, {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        second = await sdk.responses.create(model=model, input=given, **more)
    assert second.output_text == ("it is sunny (1 thoughts)" if model == "agent:clerk" else "it is sunny")
    if model == "gpt-5":
        roles = [message["role"] for message in running.provider.seen[-1].json["messages"]]
        assert roles == ["system", "user", "assistant", "tool"]
    else:
        assert first.output[0].summary[0].text == "Where is it?"


class Fruit(BaseModel):
    """What the model fills in."""

    name: Literal["apple", "pear"]


async def test_a_shape_is_kept_by_a_local_model(running: Running) -> None:
    async with client(running.url) as sdk:
        reply = await sdk.responses.parse(model="tiny", input=TEXT, text_format=Fruit, max_output_tokens=64)
    assert isinstance(reply.output_parsed, Fruit)


async def test_an_answer_that_is_too_long_is_incomplete(running: Running) -> None:
    async with client(running.url) as sdk:
        short = await sdk.responses.create(model="tiny", input=TEXT, max_output_tokens=1)
        async with sdk.responses.stream(model="tiny", input=TEXT, max_output_tokens=1) as events:
            last = [event async for event in events][-1]
    assert (short.status, short.output[-1].status) == ("incomplete", "incomplete")  # type: ignore[union-attr]
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"
    assert last.type == "response.incomplete"


async def test_a_program_without_a_loop(running: Running) -> None:
    def ask() -> tuple[str, str, str]:
        with openai.OpenAI(base_url=running.url, api_key="unused", max_retries=0) as sdk:
            whole = sdk.responses.create(model="tiny", input=TEXT, temperature=0)
            with sdk.responses.stream(model="tiny", input=TEXT, temperature=0) as events:
                streamed = events.get_final_response()
            return whole.output_text, streamed.output_text, sdk.models.retrieve("tiny").id

    assert await asyncio.to_thread(ask) == ("apple", "apple", "tiny")


async def test_what_changes_no_answer_is_accepted_and_said(running: Running) -> None:
    async with client(running.url) as sdk:
        reply = await sdk.responses.create(
            model="tiny",
            input=TEXT,
            temperature=0,
            user="ann",
            metadata={"a": "b"},
            safety_identifier="s",
            prompt_cache_key="k",
            service_tier="default",
            parallel_tool_calls=False,
            truncation="disabled",
            store=True,
            reasoning={"summary": "auto"},
            text={"verbosity": "low"},
        )
    assert reply.output_text == "apple"
    assert (reply.metadata, reply.parallel_tool_calls) == ({"a": "b"}, False)
    ignored = reply.model_extra["three_mode"]["ignored"]  # type: ignore[index]
    assert sorted(ignored) == ["parallel_tool_calls", "safety_identifier", "service_tier", "text.verbosity", "user"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"previous_response_id": "resp_x"}, "previous_response_id"),
        ({"conversation": "conv_x"}, "conversation"),
        ({"truncation": "auto"}, "truncation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"extra_body": {"no_such_field": 1}}, "no_such_field"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
async def test_what_cannot_be_done_is_named(running: Running, fields: dict[str, Any], param: str) -> None:
    async with client(running.url) as sdk:
        with pytest.raises(openai.BadRequestError) as told:
            await sdk.responses.create(model="tiny", input=TEXT, **fields)
    assert told.value.param == param


async def test_errors_have_openais_shape(running: Running) -> None:
    async with client(running.url) as sdk:
        with pytest.raises(openai.NotFoundError) as told:
            await sdk.responses.create(model="agent:nobody", input=TEXT)
        assert told.value.code in ("model_not_found", "agent_not_found")
        with pytest.raises(openai.NotFoundError) as told:
            await sdk.models.retrieve("agent:nobody")
        assert told.value.code == "model_not_found"
        for verb in (sdk.responses.retrieve, sdk.responses.delete, sdk.responses.cancel):
            with pytest.raises(openai.NotFoundError) as told:
                await verb("resp_nothing")
            assert told.value.code == "response_not_found"


async def test_a_stream_that_breaks_is_failed() -> None:
    async with endpoint() as at, client(at.url + "/v1") as sdk:
        events = [event async for event in await sdk.responses.create(model="broken", input="a b c", stream=True)]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.status == "failed"
    assert last.response.error is not None
    assert last.response.error.code == "stream_interrupted"
    assert last.response.output_text == "a "


async def test_two_calls_whose_pieces_come_in_turns() -> None:
    async with endpoint() as at, client(at.url + "/v1") as sdk:
        whole = await sdk.responses.create(model="tool", input="x")
        async with sdk.responses.stream(model="tool", input="x") as events:
            streamed = await events.get_final_response()
    for reply in (whole, streamed):
        calls = [(item.call_id, item.name, json.loads(item.arguments)) for item in reply.output]  # type: ignore[union-attr]
        assert calls == [("call_a", "add", {"x": 1}), ("call_b", "mul", {})]


async def test_a_client_that_leaves_cancels_the_work() -> None:
    async with endpoint() as at, client(at.url + "/v1") as sdk:
        stream = await sdk.responses.create(model="forever", input="x", stream=True)
        await anext(aiter(stream))
        await stream.close()
        await asyncio.wait_for(at.backend.cancelled.wait(), 10)


async def test_cancel_ends_a_stream_with_what_came() -> None:
    async with endpoint() as at, client(at.url + "/v1") as sdk:
        stream = aiter(await sdk.responses.create(model="forever", input="x", stream=True))
        name = (await anext(stream)).response.id  # type: ignore[union-attr]
        assert (await sdk.responses.retrieve(name)).status == "in_progress"
        reading = asyncio.create_task(_rest(stream))
        cancelled = await sdk.responses.cancel(name)
        last = (await asyncio.wait_for(reading, 10))[-1]
        await asyncio.wait_for(at.backend.cancelled.wait(), 10)
    assert (cancelled.id, cancelled.status, last.response.status) == (name, "cancelled", "cancelled")
    assert last.response.output_text == cancelled.output_text


async def _rest(stream: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in stream]


async def test_limits_and_deadlines_are_those_of_chat() -> None:
    async with endpoint(max_messages=2, max_body=1000) as at, client(at.url + "/v1") as sdk:
        many: Any = [{"role": "user", "content": "x"}] * 3
        with pytest.raises(openai.BadRequestError, match="at most 2 items"):
            await sdk.responses.create(model="echo", input=many)
        with pytest.raises(openai.APIStatusError) as told:
            await sdk.responses.create(model="echo", input="x" * 2000)
        assert told.value.status_code == 413
        with pytest.raises(openai.APIStatusError) as told:
            await sdk.responses.create(model="forever", input="x", extra_headers={"three-mode-within": "0.2"})
        assert told.value.status_code == 504
        await _drained(at, sdk)


async def _drained(at: Endpoint, sdk: openai.AsyncOpenAI) -> None:
    assert await at.app.drain()
    with pytest.raises(openai.APIStatusError) as told:
        await sdk.responses.create(model="echo", input="x")
    assert told.value.status_code == 503


# Kept


@asynccontextmanager
async def keeping(path: Path) -> AsyncIterator[tuple[openai.AsyncOpenAI, ScriptedProvider]]:
    port = free_port()
    async with connected("openai", model="m") as (llm, server), Conversations(path, llm) as talks:
        server.always(echo)
        backend = ConversationBackend(Connected(llm), talks)
        async with serve(App(backend, ServeOptions(port=port))), client(f"http://127.0.0.1:{port}/v1") as sdk:
            yield sdk, server


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_goes_on_from_another(tmp_path: Path, stream: bool) -> None:
    async def ask(sdk: openai.AsyncOpenAI, text: str, **more: Any) -> Any:
        if not stream:
            return await sdk.responses.create(model="m", input=text, **more)
        async with sdk.responses.stream(model="m", input=text, **more) as events:
            return await events.get_final_response()

    async with keeping(tmp_path / "t.db") as (sdk, server):
        first = await ask(sdk, "one", instructions="Be brief.", metadata={"a": "b"})
        assert first.output_text == "2: one"
        second = await ask(sdk, "two", previous_response_id=first.id)
        assert second.output_text == "3: two", "instructions are those of one response"
        other = await ask(sdk, "other", previous_response_id=first.id)
        assert [message["content"] for message in asked(server.seen[-1])] == ["one", "2: one", "other"]
        found = await sdk.responses.retrieve(first.id)
        assert (found.output_text, found.status, found.metadata) == ("2: one", "completed", {"a": "b"})
        assert (found.usage, found.created_at, found.output[0].id) == (
            first.usage,
            first.created_at,
            first.output[0].id,
        )
        listed = await sdk.responses.input_items.list(second.id, order="asc")
        assert [item.content[0].text for item in listed.data] == ["one", "2: one", "two"]  # type: ignore[union-attr]
        with pytest.raises(openai.BadRequestError, match="cannot be cancelled"):
            await sdk.responses.cancel(first.id)
        await sdk.responses.delete(first.id)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(first.id)
        assert (await ask(sdk, "three", previous_response_id=other.id)).output_text == "5: three"
        with pytest.raises(openai.NotFoundError):
            await ask(sdk, "four", previous_response_id=first.id)
        gone = await ask(sdk, "five", store=False)
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(gone.id)


async def test_an_input_with_turns_that_were_had_elsewhere_is_kept(tmp_path: Path) -> None:
    given: Any = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    async with keeping(tmp_path / "t.db") as (sdk, server):
        first = await sdk.responses.create(model="m", input=given)
        await sdk.responses.create(model="m", input="three", previous_response_id=first.id)
        said = [message["content"] for message in asked(server.seen[-1])]
        assert said == ["Be kind.", "one", "1", "two", "4: two", "three"]


async def test_a_response_goes_on_in_a_conversation(tmp_path: Path) -> None:
    async with keeping(tmp_path / "t.db") as (sdk, _):
        made = await sdk.conversations.create()
        first = await sdk.responses.create(model="m", input="one", conversation=made.id)
        second = await sdk.responses.create(model="m", input="two", conversation=made.id)
        assert (first.output_text, second.output_text) == ("1: one", "3: two")
        assert first.conversation is not None
        assert first.conversation.id == made.id
        assert (await sdk.responses.retrieve(first.id)).output_text == "1: one"
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="m", input="two", conversation="conv_guess")


async def test_a_half_made_response_is_none(tmp_path: Path) -> None:
    """As a crash leaves it between its fork and its answer."""
    async with keeping(tmp_path / "t.db") as (sdk, _):
        first = await sdk.responses.create(model="m", input="one")
        async with Conversations(tmp_path / "t.db") as talks:
            await (await talks.open(first.id)).fork("resp_half")
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve("resp_half")
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.create(model="m", input="two", previous_response_id="resp_half")


async def test_calls_and_results_go_on_from_another(tmp_path: Path) -> None:
    async with keeping(tmp_path / "t.db") as (sdk, server):
        server.next(Turn(text=(), tool_calls=(ScriptedCall("weather", {"city": "Paris"}, "c1"),), finish="tool_calls"))
        first = await sdk.responses.create(model="m", input=CALL, tools=TOOLS)
        result: Any = [{"type": "function_call_output", "call_id": "c1", "output": "sunny"}]
        second = await sdk.responses.create(model="m", input=result, tools=TOOLS, previous_response_id=first.id)
        assert second.output_text.endswith("sunny")
        assert [message["role"] for message in asked(server.seen[-1])] == ["user", "assistant", "tool"]
        again = (await sdk.responses.retrieve(first.id)).output[0]
        assert again.type == "function_call"
        assert (again.call_id, json.loads(again.arguments)) == ("c1", {"city": "Paris"})


async def test_names_of_other_conversations_are_no_responses(tmp_path: Path) -> None:
    async with Conversations(tmp_path / "t.db") as talks:
        await (await talks.open("alice")).add("secret", "yes")
    async with keeping(tmp_path / "t.db") as (sdk, _):
        made = await sdk.conversations.create()
        for name in ("alice", made.id):
            with pytest.raises(openai.NotFoundError):
                await sdk.responses.retrieve(name)
            with pytest.raises(openai.NotFoundError):
                await sdk.responses.delete(name)


async def test_keys_events_and_metrics_are_those_of_chat() -> None:
    async with endpoint(api_keys=frozenset(["secret"])) as at:
        async with client(at.url + "/v1") as sdk:
            for refused in (sdk.responses.create(model="echo", input="x"), sdk.responses.retrieve("resp_x")):
                with pytest.raises(openai.AuthenticationError):
                    await refused
        told = at.app.events.open(["response_complete"])
        async with openai.AsyncOpenAI(base_url=at.url + "/v1", api_key="secret", max_retries=0) as sdk:
            reply = await sdk.responses.create(model="echo", input="one two")
            await sdk.responses.create(model="echo", input="one two", stream=True)
        event = json.loads(await asyncio.wait_for(told.get(), 10))
        assert event["data"]["request_id"] == reply.id
        text = at.app.metrics.text(0, 0).decode()
    assert 'route="/v1/responses"' in text
