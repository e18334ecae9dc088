"""The trace of a request's caller, on every surface of the endpoint: spans and messages of agents are part of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.support.a2a.calls import calls, said
from tests.support.calls.traces import Traces
from tests.support.grpc.stubs import chat, stub
from tests.support.providers.servers import connected
from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, Orchestrator, handler
from three_mode.handling import current
from three_mode.serve import App, Connected, ServeOptions, serve

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
HEADERS = {"traceparent": PARENT, "tracestate": "vendor=x"}
ASKED: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}


@asynccontextmanager
async def traced() -> AsyncIterator[tuple[str, Traces]]:
    """An endpoint whose connection is traced."""
    traces, port = Traces(), free_port()
    async with connected(observe=traces.observing()) as (llm, _):
        async with serve(App(Connected(llm, models={"m": "m"}), ServeOptions(port=port, mcp_models=True))):
            yield f"http://127.0.0.1:{port}", traces


def parents(traces: Traces) -> list[tuple[str, str, str]]:
    """Trace, parent and state of each call that ended."""
    found = []
    for span in traces.spans():
        assert span.context is not None
        parent = "" if span.parent is None else f"{span.parent.span_id:016x}"
        found.append((f"{span.context.trace_id:032x}", parent, span.context.trace_state.to_header()))
    return found


OURS = (TRACE, SPAN, "vendor=x")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", ASKED),
        ("/v1/chat/completions", {**ASKED, "stream": True}),
        ("/v1/messages", ASKED),
        ("/v1/responses", {"model": "m", "input": "hello"}),
        ("/a2a/m/message:send", {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}),
    ],
)
async def test_calls_over_http_are_children_of_the_callers_span(path: str, body: Any) -> None:
    async with traced() as (url, traces):
        async with httpx.AsyncClient(base_url=url, headers={"a2a-version": "1.0"}, trust_env=False) as http:
            assert (await http.post(path, json=body, headers=HEADERS)).status_code == 200
            assert parents(traces) == [OURS]
            # The next request on the same connection has a trace of its own.
            assert (await http.post(path, json=body)).status_code == 200
    (trace, parent, _) = parents(traces)[1]
    assert trace != TRACE
    assert parent == ""


async def test_calls_over_grpc_are_children_of_the_callers_span() -> None:
    async with traced() as (url, traces):
        async with stub(url) as models:
            await models.ChatCompletion(chat("m"), metadata=tuple(HEADERS.items()))
            async for _ in models.StreamingChat(chat("m"), metadata=tuple(HEADERS.items())):
                pass
        async with calls(url, *HEADERS.items()) as a2a:
            await a2a.SendMessage(tenant="m", message=said("hello"))
    assert parents(traces) == [OURS] * 3


async def test_a_tool_call_by_mcp_names_its_trace_in_meta() -> None:
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    async with traced() as (url, traces), httpx.AsyncClient(base_url=url, trust_env=False) as http:
        (tool,) = (await http.post("/mcp", json=listing)).json()["result"]["tools"]
        named = {name: "m" if name == "model" else "hello" for name in tool["inputSchema"]["required"]}
        params = {"name": tool["name"], "arguments": named, "_meta": HEADERS}
        body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        result = (await http.post("/mcp", json=body)).json()["result"]
        assert not result["isError"], result
    assert parents(traces) == [OURS]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT + "-more",  # version 00 has no more
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01|agent/0:1",  # what would be a chain of callers on the bus
    ],
)
async def test_a_trace_that_is_none_is_left_out(value: str) -> None:
    async with traced() as (url, traces), httpx.AsyncClient(base_url=url, trust_env=False) as http:
        said = await http.post("/v1/chat/completions", json=ASKED, headers={"traceparent": value})
        assert said.status_code == 200
    ((trace, parent, _),) = parents(traces)
    assert parent == ""
    assert trace != TRACE


class Witness(Agent):
    """Says which trace its message belongs to."""

    @handler
    async def chat_completion(self, request: Any) -> str:
        return current.get().trace


async def test_agents_are_told_of_the_trace_without_any_tracer() -> None:
    port = free_port()
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Witness, name="witness")
        async with LLMConnection(mode="ai_ai", bus=orc.bus) as llm:
            app = App(Connected(llm, orc.bus), ServeOptions(port=port), agents=orc)
            async with serve(app), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                asked = {**ASKED, "model": "witness"}
                for parent, told in ((PARENT, PARENT), (f"01-{TRACE}-{SPAN}-00-later", f"01-{TRACE}-{SPAN}-00")):
                    said = await http.post("/v1/chat/completions", json=asked, headers={"traceparent": parent})
                    assert said.json()["choices"][0]["message"]["content"] == told
