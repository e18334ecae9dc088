"""A deadline that a person sets in a header reaches the last token of the model, through any number of agents."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Chunk
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import FOREVER, Fault, ScriptedProvider, Turn

WITHIN = 1.0
SLOW = Turn(text=("word ",) * 500)  # ten seconds of it


class Relay(Agent):
    """Hands a question on to the next one. It names no deadline: that of its own caller is inherited."""

    def __init__(self, to: str) -> None:
        self.to = to

    def _next(self, request: LLMRequest) -> LLMRequest:
        return LLMRequest(model=self.to, messages=request.messages)

    @handler(concurrent=8)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        reply: LLMResponse = await self.llm.chat_completion(self._next(request))
        return reply

    @handler(concurrent=8)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        async with self.llm.stream(self._next(request)) as chunks:
            async for chunk in chunks:
                yield [chunk]


@asynccontextmanager
async def chain(fault: Fault) -> AsyncIterator[tuple[str, ScriptedProvider]]:
    """The endpoint, an agent that asks an agent that asks a model's agent, which asks a provider: four processes."""
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=2) as orc:
        provider.always(SLOW, fault=fault)
        await orc.model("m", name="remote", base_url=provider.url + "/v1")
        await orc.spawn(Relay, name="inner", to="agent:remote")
        await orc.spawn(Relay, name="outer", to="agent:inner")
        async with LLMConnection(bus=orc.bus) as llm:
            async with serve(App(Connected(llm, orc.bus), ServeOptions(port=port))):
                yield f"http://127.0.0.1:{port}/v1/chat/completions", provider


def body(stream: bool) -> dict[str, Any]:
    return {"model": "agent:outer", "stream": stream, "messages": [{"role": "user", "content": "Go on."}]}


@pytest.mark.parametrize("stream", [False, True])
async def test_through_two_agents_and_a_model_on_the_bus(stream: bool) -> None:
    fault = Fault(pause=0.02) if stream else Fault(stall_before_head=FOREVER)
    async with chain(fault) as (url, provider), httpx.AsyncClient(timeout=20) as http:
        began = time.monotonic()
        reply = await http.post(url, json=body(stream), headers={"three-mode-within": str(WITHIN)})
        assert time.monotonic() - began < 8, "the model had ten seconds of words, or an hour of silence"
        if stream:  # it had begun: the error is its last event, and what came before stays
            assert reply.status_code == 200
            assert '"stream_interrupted"' in reply.text
            assert "did not answer in time" in reply.text
            assert reply.text.count('"word ') > 5
        else:
            assert (reply.status_code, reply.json()["error"]["code"]) == (504, "deadline_exceeded")
        await provider.until(lambda seen: len(seen.cancelled_requests) == 1)
        (seen,) = provider.seen
        assert seen.pieces_sent < 200, "the far model was stopped in the middle"


async def test_a_client_that_leaves_stops_the_far_model() -> None:
    async with chain(Fault(pause=0.02)) as (url, provider), httpx.AsyncClient(timeout=20) as http:
        async with http.stream("POST", url, json=body(True)) as reply:
            lines = reply.aiter_lines()
            while '"word ' not in await anext(lines):
                pass
        await provider.until(lambda seen: len(seen.cancelled_requests) == 1)
        assert provider.seen[0].pieces_sent < 200
