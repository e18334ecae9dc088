"""`Tools.from_mcp` at servers of the official package, and at our own, in both eras and over both transports."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio

from tests.support.agents.until import until
from tests.support.mcp.cast import Newcomer
from tests.support.mcp.served import command, weather
from tests.support.serve.endpoint import endpoint, free_port
from tests.support.tools.models import ScriptedModel, asking, call, calls, says
from three_mode.errors import ConfigurationError, DeadlineExceeded
from three_mode.messages import Image, ToolResult
from three_mode.tools import CallableTool, McpOptions, McpToolFailed, McpTools, Tools
from three_mode.tools.run import run
from three_mode.tools.run_state import RunLimits

PROGRAM = str(Path(__file__).resolve().parents[2] / "support" / "mcp" / "official_server.py")
SOON = 60.0
Era = Literal["stateless", "handshake"]


@pytest.fixture(params=["stateless", "handshake"])
def era(request: pytest.FixtureRequest) -> Era:
    found: Era = request.param
    return found


@pytest_asyncio.fixture(params=["http", "stdio"])
async def official(request: pytest.FixtureRequest, era: Era) -> AsyncIterator[McpTools]:
    """The tools of a server of the official package."""
    options = McpOptions(within=SOON, connect_within=SOON, protocol=era)
    if request.param == "stdio":
        async with Tools.from_mcp([sys.executable, PROGRAM], options) as tools:
            yield tools
        return
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, str(port), stderr=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        await until(lambda: _listens(port), within=SOON)
        async with Tools.from_mcp(f"http://127.0.0.1:{port}/mcp", options) as tools:
            yield tools
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_calls_of_an_official_server(official: McpTools) -> None:
    assert sorted(tool.name for tool in official) == ["add", "dot", "fails", "sleeps", "where"]
    add = official["add"]
    assert isinstance(add, CallableTool)
    assert (add.description, add.schema["required"]) == ("Adds two numbers.", ["a", "b"])
    assert await add.call({"a": 2, "b": 40}) == "42"
    assert '"city"' in await official["where"].call({})
    assert await official["dot"].call({}) == [Image(data=b"\x89PNG", mime="image/png")]
    with pytest.raises(McpToolFailed, match="Error executing tool"):
        await official["fails"].call({})
    assert await asyncio.gather(*(add.call({"a": n, "b": 1}) for n in range(20))) == [str(n + 1) for n in range(20)]

    # A run of the tool loop, and a call that is too late in it.
    model = ScriptedModel(calls(call("add", a=2, b=3), call("sleeps", 1, seconds=60)), says("five"))
    tools = Tools(official, each_within=1.0)
    reply = await run(model, asking(), tools, RunLimits(within=SOON))
    assert reply.content == "five"
    results = [part for part in model.seen[-1].messages[-1].parts if isinstance(part, ToolResult)]
    results += [part for part in model.seen[-1].messages[-2].parts if isinstance(part, ToolResult)]
    found = {result.name: result for result in results}
    assert found["add"].content == "5"
    assert found["sleeps"].is_error

    # And one that is cancelled leaves the others alone.
    asleep = asyncio.ensure_future(official["sleeps"].call({"seconds": 60}))
    await asyncio.sleep(0.2)
    asleep.cancel()
    assert await add.call({"a": 1, "b": 1}) == "2"


@asynccontextmanager
async def ours(over: str, era: Era, **options: object) -> AsyncIterator[tuple[McpTools, object]]:
    """The tools of agents, offered by this program."""
    async with weather() as orc, endpoint(agents=orc) as at:
        server = f"{at.url}/mcp" if over == "http" else command(orc.name)
        given = McpOptions(within=SOON, connect_within=SOON, protocol=era, **options)  # type: ignore[arg-type]
        async with Tools.from_mcp(server, given) as tools:
            yield tools, orc


@pytest.mark.parametrize("over", ["http", "stdio"])
async def test_tools_of_agents_and_changes_of_the_list(over: str, era: Era) -> None:
    async with ours(over, era) as (tools, orc):
        assert len(tools) == 8
        assert await tools["weather_forecast"].call({"city": "Rome"}) == "Rome: 1 days of sun in c"
        picture = await tools["weather_picture"].call({})
        assert picture[1] == Image(data=b"\x89PNG", mime="image/png")
        with pytest.raises(McpToolFailed, match="no barometer"):
            await tools["weather_broken"].call({})
        await asyncio.sleep(0.5)  # until it listens
        await orc.spawn(Newcomer, 1, name="new")  # type: ignore[attr-defined]
        await until(lambda: len(tools) == 9, within=30)
        assert await tools["new_greet"].call({}) == "hello"


async def test_what_is_offered_is_chosen() -> None:
    chosen = frozenset(["weather_forecast", "weather_tale"])
    async with ours("http", "stateless", prefix="city_", only=chosen) as (tools, _):
        assert sorted(tool.name for tool in tools) == ["city_weather_forecast", "city_weather_tale"]
        assert await tools["city_weather_tale"].call({"words": 2}) == "word0 word1 "


async def test_a_call_is_ended_by_what_is_left_of_the_call_that_is_handled() -> None:
    async with ours("http", "stateless") as (tools, _):
        from three_mode.handling import HandledCall, current

        loop = asyncio.get_running_loop()
        before = current.set(HandledCall(deadline=loop.time() + 0.5))
        try:
            began = loop.time()
            with pytest.raises(DeadlineExceeded):
                await tools["weather_sleeps"].call({"seconds": 60})
            assert loop.time() - began < 30
        finally:
            current.reset(before)


async def test_models_are_offered_by_the_command_where_it_is_asked_to() -> None:
    async with weather() as orc:
        options = McpOptions(within=SOON, connect_within=SOON)
        async with Tools.from_mcp(command(orc.name, "--models"), options) as tools:
            asked = tools["ask_model"]
            assert "tiny" in asked.schema["properties"]["model"]["enum"]
            answer = await asked.call({"model": "tiny", "prompt": "Repeat: apple", "temperature": 0})
            assert "apple" in answer
            with pytest.raises(McpToolFailed):
                await asked.call({"model": "gguf:/etc/passwd", "prompt": "x"})


@pytest.mark.parametrize("server", ["", "ws://127.0.0.1/mcp", [], ["ls", 3], 'ls "'])
def test_what_names_no_server_is_refused(server: object) -> None:
    with pytest.raises(ConfigurationError):
        Tools.from_mcp(server)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"within": 0},
        {"connect_within": -1},
        {"most_bytes": 0},
        {"most_tools": 0},
        {"protocol": "newest"},
        {"headers": {"a b": "x"}},
        {"headers": {"x-key": "one\r\ntwo: three"}},
        {"headers": {"x-key": "ö"}},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        McpOptions(**options)  # type: ignore[arg-type]
