"""A client that gives its requests no time, beside clients that do: it spoils nothing for them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import Fault, ScriptedProvider, Turn


class Echo(Agent):
    @handler(concurrent=8)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse.of(request.messages[-1].text)


@asynccontextmanager
async def remote() -> AsyncIterator[tuple[str, str]]:
    port = free_port()
    async with (
        ScriptedProvider("http/1.1") as provider,
        LLMConnection(base_url=provider.url + "/v1") as llm,
        serve(App(Connected(llm), ServeOptions(port=port))),
    ):
        provider.always(Turn(), fault=Fault(stall_before_head=0.1))
        yield f"http://127.0.0.1:{port}/v1/chat/completions", "m"


@asynccontextmanager
async def agent() -> AsyncIterator[tuple[str, str]]:
    port = free_port()
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Echo, name="echo")
        async with (
            LLMConnection(bus=orc.bus) as llm,
            serve(App(Connected(llm, orc.bus), ServeOptions(port=port))),
        ):
            yield f"http://127.0.0.1:{port}/v1/chat/completions", "agent:echo"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("answered", [False, True], ids=["cold", "known"])
@pytest.mark.parametrize("backend", [remote, agent])
async def test_requests_without_time_open_no_breaker(backend: Any, answered: bool, stream: bool) -> None:
    async with backend() as (url, model), httpx.AsyncClient(timeout=20) as http:
        body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "Hello!"}]}
        if answered:
            assert (await http.post(url, json=body)).status_code == 200
        for _ in range(8):
            await http.post(url, json=body, headers={"three-mode-within": "0.001"})
        reply = await http.post(url, json=body)
        assert reply.status_code == 200, reply.text
        assert "Hello" in reply.text
