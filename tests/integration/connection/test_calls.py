"""LLMConnection against the scripted provider on real sockets: the same suite for every wire format."""

import asyncio
import logging

import msgspec
import pytest

from tests.support.providers.servers import PATHS, connected, hello
from three_mode import LLMRequest, errors
from three_mode.messages import Finish, LLMResponse, Start, Text, TextDelta, ToolCall, UsageUpdate
from three_mode.modes import CommunicationMode
from three_mode.policies import CacheOptions, Policies
from three_mode.testing import Answer, Fault, Turn
from three_mode.testing import ToolCall as Asked

WIRES = ["openai", "anthropic", "gemini", "ollama"]
TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}


@pytest.mark.parametrize("provider", WIRES)
async def test_a_whole_reply(provider: str) -> None:
    async with connected(provider) as (llm, server):
        reply = await llm.chat_completion(hello())
        assert reply.content == "Hello world!"
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (12, 3)
        assert (reply.provider, reply.mode, reply.finish_reason) == (
            provider,
            CommunicationMode.HUMAN_AI,
            "stop",
        )
        assert 0 < reply.latency < 30
        assert reply.request_id.startswith("call_")
        assert [step.kind for step in reply.steps] == ["attempt"]
        assert server.seen[0].http_version.startswith("HTTP/2")


@pytest.mark.parametrize("speaks", ["h2", "h2c", "http/1.1", "https/1.1"])
@pytest.mark.parametrize("provider", WIRES)
async def test_a_stream(provider: str, speaks: str) -> None:
    async with connected(provider, speaks) as (llm, server):  # type: ignore[arg-type]
        server.always(Turn(thinking=("hm",), keep_alives=3))
        chunks = [chunk async for chunk in llm.stream(hello())]
        assert "".join(chunk.text for chunk in chunks) == "Hello world!"
        assert isinstance(chunks[0], Start)
        assert isinstance(chunks[-1], Finish)
        assert chunks[-1].latency > 0
        assert [step.kind for step in chunks[-1].steps] == ["attempt"]
        assert any(isinstance(chunk, UsageUpdate) for chunk in chunks)
        stream = llm.stream(hello())
        assert await stream.text() == "Hello world!"
        assert stream.response().thinking == "hm"
        assert not server.cancelled_requests


@pytest.mark.parametrize("provider", WIRES)
async def test_a_stream_is_the_same_reply_as_a_whole_one(provider: str) -> None:
    """Also the provider's own id, and in the cache."""
    policies = Policies(cache=CacheOptions())
    async with connected(provider, policies=policies) as (llm, server):
        server.always(Turn(thinking=("hm",), tool_calls=(Asked("weather", {"city": "Oslo"}),), finish="tool_calls"))
        whole = await llm.chat_completion(hello(tools=[TOOL]))
        assert whole.extra, "all of them say something that has no name here"
        stream = llm.stream(hello(tools=[TOOL], cache={"response": "refresh"}))
        await stream.text()
        kept = await llm.chat_completion(hello(tools=[TOOL]))
        assert len(server.seen) == 2
        assert [step.kind for step in kept.steps] == ["cache_hit"]
        for reply in (stream.response(), kept):
            same = {"latency": whole.latency, "request_id": whole.request_id, "created_at": whole.created_at}
            assert msgspec.structs.replace(reply, steps=whole.steps, **same) == whole


@pytest.mark.parametrize("provider", WIRES)
async def test_parallel_tools_there_and_back(provider: str) -> None:
    calls = (Asked("weather", {"city": "Paris"}, "a"), Asked("weather", {"city": "Oslo"}, "b"))
    async with connected(provider) as (llm, server):
        server.always(Turn(text=(), tool_calls=calls, finish="tool_calls"))
        request = hello(tools=[TOOL])
        whole = await llm.chat_completion(request)
        stream = llm.stream(request)
        async for _ in stream:
            pass
        for reply in (whole, stream.response()):
            assert [call.arguments for call in reply.tool_calls] == [{"city": "Paris"}, {"city": "Oslo"}]
            assert reply.finish_reason == "tool_calls"
        server.always(Turn())
        results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in whole.tool_calls]
        said = [*request.messages, {"role": "assistant", "content": whole.parts}, *results]
        assert (await llm.chat_completion(LLMRequest(messages=said, model="m"))).content == "Hello world!"


@pytest.mark.parametrize("provider", WIRES)
async def test_leaving_a_stream_cancels_it_at_the_server(provider: str) -> None:
    async with connected(provider) as (llm, server):
        server.always(Turn(text=("x",) * 50), fault=Fault(stall_after=6))
        async with llm.stream(hello()) as stream:
            async for chunk in stream:
                if chunk.text:
                    break
        await server.until(lambda seen: bool(seen.cancelled_requests))
        assert stream.response().finish_reason == "cancelled"


async def test_a_stream_that_is_dropped_is_cancelled_too() -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=("x",) * 50), fault=Fault(stall_after=6))
        async for chunk in llm.stream(hello()):
            if chunk.text:
                break
        await server.until(lambda seen: bool(seen.cancelled_requests))


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", WIRES)
async def test_a_cancelled_call_is_seen_by_the_server_as_cancelled(provider: str, streamed: bool) -> None:
    async with connected(provider) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=60))
        work = llm.stream(hello()).text() if streamed else llm.chat_completion(hello())
        task = asyncio.ensure_future(work)
        await server.until(lambda seen: len(seen.seen) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.until(lambda seen: bool(seen.cancelled_requests))
        assert server.seen[0].reset_code == 0x8


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("fault", "stage"),
    [
        (Fault(stall_before_head=60), "total"),
        (Fault(stall_after=0), "total"),
    ],
)
async def test_the_deadline_of_a_request(fault: Fault, stage: str, streamed: bool) -> None:
    async with connected() as (llm, server):
        server.always(Turn(), fault=fault)
        request = hello(within=0.3)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await (llm.stream(request).text() if streamed else llm.chat_completion(request))
        assert caught.value.stage == stage
        await server.until(lambda seen: bool(seen.cancelled_requests))


async def test_keep_alives_are_no_content_and_extend_no_deadline() -> None:
    async with connected() as (llm, server):
        server.always(Turn(keep_alives=1000), fault=Fault(pause=0.01))
        with pytest.raises(errors.DeadlineExceeded):
            await llm.stream(hello(within=0.4)).text()


@pytest.mark.parametrize("provider", WIRES)
async def test_a_stream_that_breaks_after_content_says_what_came(provider: str) -> None:
    async with connected(provider) as (llm, server):
        after = 3 if provider != "anthropic" else 4
        server.always(Turn(text=("Hel", "lo", " world")), fault=Fault(cut_after=after))
        with pytest.raises(errors.StreamInterrupted) as caught:
            await llm.stream(hello()).text()
        assert caught.value.partial is not None
        assert caught.value.partial.content in ("Hel", "Hello", "Hello world")
        assert len(server.seen) == 1, "it was tried again after content went out"


async def test_the_deadline_within_a_stream_is_an_interruption_with_what_came() -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=("Hel", "lo")), fault=Fault(stall_after=2))
        with pytest.raises(errors.StreamInterrupted) as caught:
            await llm.stream(hello(within=0.4)).text()
        assert isinstance(caught.value.__cause__, errors.DeadlineExceeded)
        assert caught.value.partial is not None
        assert caught.value.partial.content == "Hel"


@pytest.mark.parametrize("provider", WIRES)
async def test_any_piece_of_bytes_is_the_same_stream(provider: str) -> None:
    async with connected(provider) as (llm, server):
        server.always(Turn(text=("Grü", "ße ", "世界")), fault=Fault(byte_by_byte=True))
        assert await llm.stream(hello()).text() == "Grüße 世界"
        assert (await llm.chat_completion(hello())).content == "Grüße 世界"


@pytest.mark.parametrize("provider", WIRES)
async def test_an_error_inside_a_200(provider: str) -> None:
    async with connected(provider, max_retries=0) as (llm, server):
        server.always(Turn(text=(), error="the server broke"))
        for work in (llm.chat_completion(hello()), llm.stream(hello()).text()):
            with pytest.raises(errors.LLMError) as caught:
                await work
            assert "the server broke" in str(caught.value)


async def test_a_host_that_does_not_stream_is_read_whole() -> None:
    async with connected() as (llm, server):
        whole = (
            b'{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop",'
            b'"message":{"role":"assistant","content":"all"}}]}'
        )
        server.always(Answer(pieces=(whole,)))
        assert await llm.stream(hello()).text() == "all"


async def test_a_base_url_is_a_provider() -> None:
    async with connected() as (other, server):
        from three_mode import LLMConnection
        from three_mode.connection import ConnectionOptions

        options = ConnectionOptions(transport=other._options.transport)
        async with LLMConnection(base_url=server.url + "/v1", api_key="k", options=options) as llm:
            assert (await llm.chat_completion(hello())).content == "Hello world!"
            assert server.seen[-1].headers["authorization"] == "Bearer k"
            reply = await llm.chat_completion(hello(f"{server.url}/v1#other"))
            assert reply.content == "Hello world!"
            assert "authorization" not in server.seen[-1].headers, "a key went to an address out of a request"
            assert server.seen[-1].json["model"] == "other"


async def test_models_and_health() -> None:
    listing = Answer(pieces=(b'{"data":[{"id":"gpt-5"},{"id":"gpt-4o"}]}',))
    async with connected() as (llm, server):
        server.always(listing)
        assert await llm.models() == ("gpt-5", "gpt-4o")
        health = (await llm.health())["openai"]
        assert (health.ok, health.models, health.error) == (True, 2, None)
        server.always(Answer(status=500))
        health = (await llm.health())["openai"]
        assert not health.ok
        assert "ServerError" in (health.error or "")
        server.always(listing, fault=Fault(stall_before_head=60))
        health = (await llm.health(within=0.2))["openai"]
        assert "DeadlineExceeded" in (health.error or "")


async def test_a_batch_keeps_order_counts_progress_and_gives_errors_as_values() -> None:
    async with connected(max_retries=0) as (llm, server):

        def answer(seen: object) -> Turn | Answer:
            text = seen.json["messages"][0]["content"]  # type: ignore[attr-defined]
            return Answer(status=400, pieces=(b'{"error":{"message":"no"}}',)) if text == "3" else Turn(text=(text,))

        server.always(answer)  # type: ignore[arg-type]
        requests = [LLMRequest(messages=[{"role": "user", "content": str(i)}], model="m") for i in range(20)]
        told = []
        outcomes = await llm.batch(requests, at_once=4, progress=told.append)
        assert [o.content if isinstance(o, LLMResponse) else type(o) for o in outcomes] == [
            errors.InvalidRequest if i == 3 else str(i) for i in range(20)
        ]
        assert [each.done for each in told] == list(range(1, 21))
        assert told[-1].failed == 1


async def test_a_batch_holds_its_bound() -> None:
    async with connected() as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=0.05))
        task = asyncio.ensure_future(llm.batch([hello()] * 9, at_once=3))
        most = 0
        while not task.done():
            most = max(most, sum(not seen.finished for seen in server.seen))
            await asyncio.sleep(0.005)
        assert len(await task) == 9
        assert most == 3


async def test_no_key_is_in_any_repr_log_or_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "sk-secret-key-of-the-test"
    async with connected(max_retries=0) as (llm, server):
        await llm.chat_completion(hello())
        server.always(Answer(status=401, pieces=(b'{"error":{"message":"Incorrect API key: %s"}}' % secret.encode(),)))
        with pytest.raises(errors.AuthenticationError) as caught:
            await llm.chat_completion(hello())
        assert secret not in repr(caught.value) + str(caught.value)
        assert secret not in repr(vars(llm))
        ours = [record for record in caplog.records if record.name.startswith(("three_mode", "transports"))]
        told = " ".join(f"{record.getMessage()} {vars(record)}" for record in ours)
        assert secret not in told
        assert "Hello!" not in told, "content was logged"
        events = [record.getMessage() for record in caplog.records if record.name == "three_mode.llm"]
        assert events == ["llm_request", "llm_reply", "llm_request", "llm_error"]
        assert len({vars(r)["request_id"] for r in caplog.records if r.name == "three_mode.llm"}) == 2


async def test_a_closed_connection_says_so() -> None:
    async with connected() as (llm, _):
        await llm.close()
        await llm.close()
        with pytest.raises(errors.ConfigurationError, match="closed"):
            await llm.chat_completion(hello())
        with pytest.raises(errors.ConfigurationError, match="closed"):
            await llm.stream(hello()).text()


async def test_an_agent_without_a_bus_is_unavailable_with_a_hint() -> None:
    async with connected() as (llm, _):
        with pytest.raises(errors.ModeUnavailable) as caught:
            await llm.chat_completion(hello("agent:brain"))
        assert caught.value.hint


async def test_no_model_anywhere_is_an_error_that_says_where() -> None:
    async with connected() as (llm, _):
        with pytest.raises(errors.InvalidRequest, match="OPENAI_MODEL"):
            await llm.chat_completion(hello(None))


async def test_what_cannot_work_is_refused_before_anything_is_sent() -> None:
    async with connected() as (llm, server):
        with pytest.raises(errors.ContextLength):
            await llm.chat_completion(
                LLMRequest(messages=[{"role": "user", "content": "word " * 40_000}], model="gpt-4")
            )
        with pytest.raises(errors.UnsupportedParameter) as caught:
            await llm.chat_completion(hello("gpt-4o", reasoning="high"))
        assert caught.value.field == "reasoning"
        assert server.seen == []


async def test_tools_are_emulated_where_a_model_has_none() -> None:
    async with connected() as (llm, server):
        server.always(
            Turn(
                text=(
                    "Let me look. ",
                    '<tool_call>{"name": "weather", ',
                    '"arguments": {"city": "Oslo"}}</tool_call>',
                )
            )
        )
        request = hello("o1-mini", tools=[TOOL])
        reply = await llm.chat_completion(request)
        assert reply.parts == (Text("Let me look."), ToolCall("call_made_1", "weather", {"city": "Oslo"}))
        assert reply.finish_reason == "tool_calls"
        assert "tools" not in server.seen[0].json
        assert "weather" in server.seen[0].json["messages"][0]["content"]
        stream = llm.stream(request)
        async for chunk in stream:
            assert not isinstance(chunk, TextDelta) or "<tool_call>" not in chunk.text
        assert stream.response().tool_calls == reply.tool_calls


async def test_the_text_of_an_emulated_stream_comes_before_its_end() -> None:
    async with connected() as (llm, server):
        server.always(
            Turn(text=("Let me ", "look <tool", '_call>{"name": "weather"}</tool_call>')),
            fault=Fault(stall_after=3),
        )
        stream = llm.stream(hello("o1-mini", tools=[TOOL], within=30))
        said = ""
        while said != "Let me look":
            said += (await asyncio.wait_for(anext(stream), 5)).text
        await stream.aclose()
        server.always(Turn(text=("Let me ", "look <tool", " of")), fault=Fault(cut_after=4))
        with pytest.raises(errors.StreamInterrupted) as caught:
            await llm.stream(hello("o1-mini", tools=[TOOL])).text()
        assert caught.value.partial is not None
        assert caught.value.partial.content in ("Let me look <tool", "Let me look <tool of")


async def test_structured_output_is_parsed_into_a_type() -> None:
    import msgspec

    class Place(msgspec.Struct):
        city: str
        days: int = 1

    async with connected() as (llm, server):
        server.always(Turn(text=('{"city": "Oslo", "days": 3}',)))
        reply = await llm.chat_completion(hello(response_format=Place))
        assert reply.parse(Place) == Place("Oslo", 3)
        schema = server.seen[0].json["response_format"]["json_schema"]["schema"]
        assert schema["required"] == ["city", "days"]
        assert schema["additionalProperties"] is False
        assert "$ref" not in schema


async def test_ask() -> None:
    async with connected(model="m") as (llm, server):
        assert await llm.ask("Why?", max_tokens=5) == "Hello world!"
        assert server.seen[0].json["max_completion_tokens"] == 5


def test_every_wire_is_served() -> None:
    assert set(WIRES) <= set(PATHS)
