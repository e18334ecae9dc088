"""The official client of MCP, in both eras, at `/mcp` and at `three-mode mcp`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from mcp import Client, MCPError

from tests.support.agents.until import until
from tests.support.mcp.cast import Newcomer
from tests.support.mcp.served import parameters, weather
from tests.support.serve.endpoint import endpoint
from three_mode import Orchestrator

TOOLS = ["broken", "dies", "forecast", "measured", "nothing", "picture", "sleeps", "tale"]
Connect = Callable[[Orchestrator], AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["http", "stdio"])
def connect(request: pytest.FixtureRequest, mode: str) -> Connect:
    """How a client is connected to the tools of an orchestrator's bus."""

    @asynccontextmanager
    async def over_http(orc: Orchestrator) -> AsyncIterator[Client]:
        async with endpoint(agents=orc, mcp_models=True) as at, Client(f"{at.url}/mcp", mode=mode) as client:
            yield client

    @asynccontextmanager
    async def over_stdio(orc: Orchestrator) -> AsyncIterator[Client]:
        async with Client(parameters(orc.name), mode=mode) as client:
            yield client

    return over_http if request.param == "http" else over_stdio


def texts(result: Any) -> list[str]:
    return [block.text for block in result.content]


async def test_the_era_is_agreed_on(connect: Connect, mode: str) -> None:
    async with weather() as orc, connect(orc) as client:
        assert client.protocol_version == ("2026-07-28" if mode == "auto" else "2025-11-25")


async def test_the_list_has_hints_and_docstrings_of_handlers(connect: Connect) -> None:
    async with weather() as orc, connect(orc) as client:
        found = {tool.name: tool for tool in (await client.list_tools()).tools if tool.name != "ask_model"}
        assert sorted(found) == [f"weather_{name}" for name in TOOLS]
        forecast = found["weather_forecast"]
        assert forecast.description == "The weather of the next days."
        properties = forecast.input_schema["properties"]
        assert properties["city"] == {"type": "string", "description": "the name of the place"}
        assert properties["days"] == {"type": "integer", "default": 1, "description": "how many days"}
        assert forecast.input_schema["required"] == ["city"]


async def test_calls_and_their_results(connect: Connect) -> None:
    async with weather() as orc, connect(orc) as client:
        arguments = {"city": "Rome", "days": 2, "unit": "f"}
        assert texts(await client.call_tool("weather_forecast", arguments)) == ["Rome: 2 days of sun in f"]
        measured = await client.call_tool("weather_measured", {"city": "Oslo"})
        assert measured.structured_content == {"city": "Oslo", "degrees": 21.5}
        assert (await client.call_tool("weather_nothing", {})).content == []
        dot, image = (await client.call_tool("weather_picture", {})).content
        assert (dot.text, image.mime_type, image.data) == ("a dot", "image/png", "iVBORw==")


async def test_errors_of_handlers_are_results(connect: Connect) -> None:
    async with weather() as orc, connect(orc) as client:
        for tool, arguments, said in (
            ("weather_broken", {}, "raised ValueError: no barometer"),
            ("weather_forecast", {"city": 3}, "argument 'city': expected str, got int"),
            ("weather_forecast", {}, "the argument 'city' is missing"),
            ("weather_forecast", {"city": "Rome", "within": 3}, "has no argument 'within'"),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert said in texts(result)[0]


async def test_unknown_tools_are_errors_of_the_protocol(connect: Connect) -> None:
    async with weather() as orc, connect(orc) as client:
        for name in ("weather_secret", "nobody_nothing", ""):
            with pytest.raises(MCPError, match="no tool"):
                await client.call_tool(name, {})


async def test_a_handler_that_streams_tells_of_its_progress(connect: Connect) -> None:
    seen: list[tuple[float, str | None]] = []

    async def progress(count: float, total: float | None, message: str | None) -> None:
        seen.append((count, message))

    async with weather() as orc, connect(orc) as client:
        result = await client.call_tool("weather_tale", {"words": 3}, progress_callback=progress)
        assert texts(result) == ["word0 word1 word2 "]
        assert seen == [(1, "word0 "), (2, "word1 "), (3, "word2 ")]
        assert texts(await client.call_tool("weather_tale", {"words": 2})) == ["word0 word1 "]


async def test_an_agent_whose_host_dies_is_an_error_and_answers_again(connect: Connect) -> None:
    async with weather(hosts=1) as orc, connect(orc) as client:
        result = await client.call_tool("weather_dies", {})
        assert result.is_error
        assert texts(result)[0].startswith("PeerLost: ")

        async def is_back() -> bool:
            return not (await client.call_tool("weather_nothing", {})).is_error

        await until(is_back, within=30)


async def test_changes_are_told_to_those_who_listen() -> None:
    async with weather() as orc:
        for over in ("http", "stdio"):
            async with endpoint(agents=orc) as at:
                place: Any = f"{at.url}/mcp" if over == "http" else parameters(orc.name)
                async with Client(place) as client, client.listen(tools_list_changed=True) as changes:
                    await orc.spawn(Newcomer, 1, name=f"new_{over}")
                    assert type(await anext(aiter(changes))).__name__ == "ToolsListChanged"
                    names = [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]
                    assert f"new_{over}_greet" in names


async def test_models_are_a_tool_where_it_is_asked_for() -> None:
    async with endpoint(mcp_models=True) as at, Client(f"{at.url}/mcp") as client:
        (tool,) = (await client.list_tools()).tools
        assert tool.input_schema["properties"]["model"]["enum"] == ["echo", "agent:echo"]
        result = await client.call_tool("ask_model", {"model": "echo", "prompt": "hello there", "max_tokens": 5})
        assert texts(result) == ["hello there "]
        assert at.backend.seen[-1].max_tokens == 5
        for arguments, said in (
            ({"model": "echo"}, "'prompt' is missing"),
            ({"model": "echo", "prompt": 3}, "'prompt' is of another type"),
            ({"model": "echo", "prompt": "x", "temp": 1}, "no argument 'temp'"),
            ({"model": "overloaded", "prompt": "x"}, "Overloaded: the mailbox is full"),
        ):
            result = await client.call_tool("ask_model", arguments)
            assert result.is_error
            assert said in texts(result)[0]
    async with endpoint() as at, Client(f"{at.url}/mcp") as client:
        assert (await client.list_tools()).tools == []
