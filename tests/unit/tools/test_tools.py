"""Tools as options: what becomes a tool, what is refused, and how a function runs."""

import asyncio
import dataclasses
import functools
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from three_mode.errors import ConfigurationError, Overloaded
from three_mode.messages import Image, Text
from three_mode.tools import CallableTool, FunctionTool, Tools, UnfitArguments
from three_mode.tools.outcome import cut_content, result_content
from three_mode.tools.threads import ToolThreads


def get_time(zone: str = "UTC") -> str:
    """The time now."""
    return f"12:30 {zone}"


async def double(x: int) -> int:
    return 2 * x


async def count(to: int) -> AsyncIterator[str]:
    for number in range(to):
        yield str(number)


class Weather:
    """A tool that is no function, as one of an MCP server will be."""

    name = "weather"
    description = "The weather."
    schema: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}  # noqa: RUF012

    async def call(self, arguments: dict[str, Any]) -> Any:
        return f"rain in {arguments['city']}"


def test_functions_and_other_tools_make_tools() -> None:
    tools = Tools([get_time, FunctionTool(double, name="twice"), Weather()], at_once=2)
    assert list(tools.by_name) == ["get_time", "twice", "weather"]
    assert all(isinstance(tool, CallableTool) for tool in tools.tools)
    assert [spec.description for spec in tools.specs] == ["The time now.", "", "The weather."]
    assert tools.specs[0].parameters["properties"]["zone"]["default"] == "UTC"
    more = tools.plus(count, double)
    assert (list(more.by_name)[-2:], more.at_once) == (["count", "double"], 2)
    assert Tools.of(tools) is tools


def test_tools_are_frozen_options() -> None:
    tools = Tools([get_time])
    with pytest.raises(AttributeError):
        tools.at_once = 3  # type: ignore[misc]
    changed = dataclasses.replace(tools, at_once=3)
    assert (changed.at_once, list(changed.by_name)) == (3, ["get_time"])


@pytest.mark.parametrize(
    ("tools", "options", "words"),
    [
        ([get_time, get_time], {}, "two tools have the name 'get_time'"),
        ([lambda: None], {}, "no name of a tool"),
        ([Weather], {}, "class Weather"),
        (["get_time"], {}, "str is no tool"),
        ("get_time", {}, "tools is a list"),
        ([get_time], {"at_once": 0}, "at_once"),
        ([FunctionTool(get_time, name="read_more")], {"pages": True}, "of its own"),
        ([get_time], {"each_within": 0}, "each_within"),
        ([get_time], {"result_limit": 0}, "result_limit"),
    ],
)
def test_what_makes_no_tools(tools: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Tools(tools, **options)


async def test_a_plain_function_runs_on_a_thread_and_an_async_one_on_the_loop() -> None:
    def where() -> str:
        return threading.current_thread().name

    async def where_async() -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    assert await FunctionTool(where).call({}) != here
    assert await FunctionTool(where_async).call({}) == here
    assert await FunctionTool(functools.partial(double, x=4), name="eight").call({}) == 8
    assert await FunctionTool(count).call({"to": 4}) == "0123"
    with pytest.raises(UnfitArguments):
        await FunctionTool(double).call({"x": "many"})


async def test_parts_of_a_streamed_result_are_a_list_where_they_are_no_text() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async def endless() -> AsyncIterator[str]:
        while True:
            yield "x" * 1_000_000

    assert await FunctionTool(numbers).call({}) == [1, 2]
    assert len(await FunctionTool(endless).call({})) == 10_000_000


async def test_threads_are_bounded_and_used_again() -> None:
    threads, hold = ToolThreads(most=2), threading.Event()
    waiting = [asyncio.ensure_future(threads.run(hold.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await threads.run(lambda: None)
    hold.set()
    assert await asyncio.gather(*waiting) == [True, True]
    names = {await threads.run(lambda: threading.current_thread().ident) for _ in range(5)}
    assert len(names) <= 2


async def test_what_a_thread_raises_is_raised_here() -> None:
    def ends() -> None:
        raise SystemExit(3)

    def stops() -> None:
        raise StopIteration

    threads = ToolThreads()
    with pytest.raises(SystemExit):
        await threads.run(ends)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(stops)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        ({"a": [1]}, '{"a":[1]}'),
        (None, "null"),
        (Text("a"), (Text("a"),)),
        ([Text("a"), Image(url="https://x.test/i.png")], (Text("a"), Image(url="https://x.test/i.png"))),
        ([], "[]"),
    ],
)
def test_results_are_text_or_parts(value: Any, content: Any) -> None:
    assert result_content(value) == content


def test_a_long_result_is_cut_with_a_note() -> None:
    content, whole = cut_content("x" * 30, 10)
    assert content == "x" * 10 + "\n[cut: the first 10 of 30 characters; ask for less]"
    assert whole == "x" * 30
    picture = Image(url="https://x.test/i.png")
    parts, whole = cut_content((Text("abc"), picture, Text("defg"), Text("h")), 5)
    assert parts == (Text("abc"), picture, Text("de"), Text("\n[cut: the first 5 of 8 characters; ask for less]"))
    assert whole == "abcdefgh"
    assert cut_content("x" * 10, 10) == ("x" * 10, None)
