"""Runs for code without an event loop: the provider is on the loop in the background."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.providers.servers import account, hello, transport
from three_mode.connection import ConnectionOptions
from three_mode.sync import LLMConnection, McpTools, RunStream, run
from three_mode.testing import Fault, ScriptedProvider, Seen, ToolCall, Turn
from three_mode.tools import McpOptions, McpServerFailed, RunFinished, ToolFinished, Tools

MCP_SERVER = str(Path(__file__).resolve().parents[2] / "support" / "mcp" / "official_server.py")
CALLS = (ToolCall("get_time", {}, "a"), ToolCall("double", {"x": 2}, "b"))


def script(seen: Seen) -> Turn:
    if b"12:30" not in seen.body:
        return Turn(text=(), tool_calls=CALLS, finish="tool_calls")
    return Turn(text=("It is 12:30, ", "and 4."))


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    server = ScriptedProvider("http/1.1")
    run(server.__aenter__())
    server.always(script)
    yield server
    run(server.__aexit__(None, None, None))


def connect(server: ScriptedProvider) -> LLMConnection:
    options = ConnectionOptions(accounts={"openai": account("openai", server)}, transport=transport("http/1.1"))
    return LLMConnection("openai", options=options)


def get_time() -> str:
    return "12:30"


async def double(x: int) -> int:
    return 2 * x


def test_a_run_whole_and_as_events(provider: ScriptedProvider) -> None:
    with connect(provider) as llm:
        reply = llm.run(hello(), Tools([get_time, double]))
        assert (reply.content, reply.rounds) == ("It is 12:30, and 4.", 2)
        events = list(llm.run_stream(hello(), [get_time, double]))
        assert sum(isinstance(event, ToolFinished) for event in events) == 2
        assert isinstance(events[-1], RunFinished)
        assert "".join(event.text for event in events) == "It is 12:30, and 4."
        stream = llm.run_stream(hello(), [get_time, double])
        assert isinstance(stream, RunStream)
        assert stream.text() == "It is 12:30, and 4."
        assert stream.response().rounds == 2


def test_a_plain_tool_may_call_the_connection_that_runs_it(provider: ScriptedProvider) -> None:
    with connect(provider) as llm:

        def get_time() -> str:
            return f"12:30 {llm.ask('12:30', model='m')}"

        reply = llm.run(hello(), [get_time, double])
        assert reply.outcomes[0].result.content == "12:30 It is 12:30, and 4."


def test_leaving_a_run_ends_it(provider: ScriptedProvider) -> None:
    provider.next(Turn(text=(), tool_calls=CALLS, finish="tool_calls"))
    provider.always(Turn(text=("x",) * 50), fault=Fault(stall_after=6))
    with connect(provider) as llm:
        with llm.run_stream(hello(), [get_time, double]) as stream:
            assert next(event for event in stream if event.text).text == "x"
        run(provider.until(lambda seen: bool(seen.cancelled_requests)))
    assert threading.active_count() < 20


def test_tools_of_an_mcp_server(provider: ScriptedProvider) -> None:
    asks = (ToolCall("add", {"a": 2, "b": 40}, "a"), ToolCall("double", {"x": 2}, "b"))
    provider.next(Turn(text=(), tool_calls=asks, finish="tool_calls"))
    provider.always(Turn(text=("42",)))
    options = McpOptions(within=60, connect_within=60)
    with connect(provider) as llm, McpTools([sys.executable, MCP_SERVER], options) as server:
        assert {tool.name for tool in server} >= {"add", "sleeps"}
        assert server["add"].schema["required"] == ["a", "b"]
        server.refresh()
        reply = llm.run(hello(), Tools([*server, double]))
        assert [outcome.result.content for outcome in reply.outcomes] == ["42", "4"]
    with connect(provider) as llm:
        provider.next(Turn(text=(), tool_calls=asks[:1], finish="tool_calls"))
        closed = llm.run(hello(), Tools([*server])).outcomes[0].result
        assert closed.is_error
        assert "was closed" in str(closed.content)
    with pytest.raises(McpServerFailed, match="No such file"):
        McpTools(["no-such-server"], options).__enter__()
