"""Providers and agents whose replies never end: a reply is bounded by its deadline and its bytes, whatever is in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from three_mode import Agent, LLMConnection, LLMRequest, Orchestrator, errors, handler
from three_mode.connection import ConnectionOptions
from three_mode.messages import Chunk, LLMResponse, Start, Text, TextDelta, ToolDelta
from three_mode.policies import FallbackOptions, Policies, RetryOptions, Target
from three_mode.testing import Answer, Fault, ScriptedProvider

LIMIT = 256 * 1024
ONCE = RetryOptions(attempts=1)


def event(delta: dict[str, Any]) -> bytes:
    choice = {"index": 0, "delta": delta}
    return b"data: " + json.dumps({"id": "x", "model": "m", "choices": [choice]}).encode() + b"\n\n"


FLOODS = {
    "text": event({"content": "x" * 500}),
    "thinking": event({"reasoning_content": "x" * 500}),
    "arguments": event({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "x" * 500}}]}),
    "calls": event({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}),
    "unknown fields": event({"content": "a", "foo": ["y" * 500]}),
    "comments": b": keep-alive\n\n",
}


@asynccontextmanager
async def endless(piece: bytes) -> AsyncIterator[str]:
    """A server that answers with the same piece for ever, as fast as it is read."""
    tasks: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        many = piece * max(1, 65_536 // len(piece))
        chunk = b"%x\r\n%b\r\n" % (len(many), many)
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                writer.write(chunk)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def asking(model: str = "m", **fields: Any) -> LLMRequest:
    return LLMRequest(model=model, messages=[{"role": "user", "content": "Go on."}], **fields)


def too_large(error: BaseException | None) -> bool:
    return isinstance(error, errors.ReplyTooLarge) and str(LIMIT) in error.message and not error.retryable


@pytest.mark.parametrize("what", FLOODS)
async def test_a_stream_has_no_more_bytes_than_the_connection_allows(what: str) -> None:
    options = ConnectionOptions(reply_bytes=LIMIT)
    async with endless(FLOODS[what]) as url, LLMConnection(base_url=url, options=options) as llm:
        with pytest.raises(errors.LLMError) as caught:
            await llm.stream(asking(within=60)).text()
        if what == "comments":  # nothing went out
            assert too_large(caught.value)
        else:
            assert isinstance(caught.value, errors.StreamInterrupted)
            assert too_large(caught.value.__cause__)
            assert caught.value.partial is not None


@pytest.mark.parametrize("what", ["text", "arguments"])
async def test_nor_has_a_whole_reply(what: str) -> None:
    options = ConnectionOptions(reply_bytes=LIMIT)
    async with endless(FLOODS[what]) as url, LLMConnection(base_url=url, options=options) as llm:
        with pytest.raises(errors.ReplyTooLarge) as caught:
            await llm.chat_completion(asking(within=60))
        assert too_large(caught.value)


async def test_nor_has_a_whole_reply_that_is_streamed_because_of_its_fallback() -> None:
    options = ConnectionOptions(reply_bytes=LIMIT)
    fallback = FallbackOptions(targets=(Target("local", "tiny"),), first_content=20)
    async with endless(FLOODS["arguments"]) as url:
        policies = Policies(retry=ONCE, fallback=fallback)
        async with LLMConnection(base_url=url, options=options, policies=policies) as llm:
            reply = await llm.chat_completion(asking(within=60, max_tokens=4))
            assert reply.provider == "local"
            assert "ReplyTooLarge" in (reply.steps[1].why or "")


async def test_a_document_in_place_of_a_stream_is_bounded_too() -> None:
    options = ConnectionOptions(reply_bytes=LIMIT)
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(Answer(pieces=(b'{"x": "', *(b"y" * 65_536,) * 8, b'"}'), streamed=True))
        async with LLMConnection(base_url=provider.url + "/v1", options=options) as llm:
            with pytest.raises(errors.ReplyTooLarge):
                await llm.stream(asking()).text()


@pytest.mark.parametrize("what", ["arguments", "comments"])
async def test_the_deadline_bounds_a_stream_as_a_whole(what: str) -> None:
    """Without the bytes: so slow that it never reaches them."""
    async with ScriptedProvider("http/1.1") as provider:
        provider.always(
            Answer(headers=((b"content-type", b"text/event-stream"),), pieces=(FLOODS[what],) * 5000, streamed=True),
            fault=Fault(pause=0.005),
        )
        async with LLMConnection(base_url=provider.url + "/v1") as llm:
            with pytest.raises((errors.StreamInterrupted, errors.DeadlineExceeded)) as caught:
                await llm.stream(asking(within=0.3)).text()
            late = caught.value.__cause__ if what == "arguments" else caught.value
            assert isinstance(late, errors.DeadlineExceeded)
            await provider.until(lambda seen: bool(seen.cancelled_requests))


class Endless(Agent):
    """Streams for ever, as its first word says."""

    def __init__(self) -> None:
        self.pieces: dict[str, Callable[[], Chunk]] = {
            "text": lambda: TextDelta("x" * 500),
            "arguments": lambda: ToolDelta(0, "c", "f", "x" * 500),
        }

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text("whole"),))

    @handler(concurrent=8)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        yield [Start("m", "endless")]
        piece = self.pieces[request.messages[-1].text]()
        while True:
            yield [piece] * 20
            await asyncio.sleep(0)


@pytest.mark.parametrize("what", ["text", "arguments"])
async def test_an_agent_that_streams_for_ever(what: str) -> None:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Endless, name="endless")
        options = ConnectionOptions(reply_bytes=LIMIT)
        request = LLMRequest(model="agent:endless", messages=[{"role": "user", "content": what}], within=60)
        async with LLMConnection(bus=orc.bus, options=options) as llm:
            for _ in range(2):  # the normal way, and the fast path
                with pytest.raises(errors.StreamInterrupted) as caught:
                    await llm.stream(request).text()
                assert too_large(caught.value.__cause__)


@pytest.mark.parametrize("emulated", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
async def test_arguments_that_nest_without_end_are_text(streamed: bool, emulated: bool) -> None:
    deep = '{"name": "look", "arguments": ' + "[" * 200_000
    function = {"name": "look", "arguments": deep}
    message: dict[str, Any] = {"tool_calls": [{"index": 0, "id": "c", "type": "function", "function": function}]}
    if emulated:
        message = {"content": f"<tool_call>{deep}</tool_call>"}
    reply = {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    answer = Answer(pieces=(json.dumps(reply).encode(),))
    if streamed:
        pieces = (
            event(message),
            b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n',
            b"data: [DONE]\n\n",
        )
        answer = Answer(headers=((b"content-type", b"text/event-stream"),), pieces=pieces, streamed=True)
    async with ScriptedProvider("http/1.1") as provider, LLMConnection(base_url=provider.url + "/v1") as llm:
        provider.always(answer)
        request = asking("llama-2-7b" if emulated else "m", tools=[{"name": "look", "description": "looks"}])
        if streamed:
            async with llm.stream(request) as stream:
                await stream.text()
            got = stream.response()
        else:
            got = await llm.chat_completion(request)
        if emulated:
            assert deep in got.content
        else:
            assert (got.tool_calls[0].raw, got.tool_calls[0].arguments) == (deep, {})
