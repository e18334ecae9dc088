"""Servers of MCP over HTTP that misbehave: a call is an error in time, and its end reaches the server."""

import asyncio
import time
from typing import Any

import pytest

from tests.support.agents.until import until
from tests.support.mcp.bad_http import Answer, chunk, failure, greet, head, reply, result, served
from three_mode.errors import DeadlineExceeded
from three_mode.tools import McpOptions, McpServerFailed, McpToolFailed, Tools

SOON = 15.0
EVENTS = "text/event-stream"


def calling(answer: Any) -> Answer:
    """A server that answers calls so, and everything else without a fault."""

    async def all_of_it(method: str, headers: dict[str, str], message: Any, writer: asyncio.StreamWriter) -> None:
        if method != "POST":
            writer.write(head(405, length=0))
        elif not await greet(message, writer):
            await answer(message, writer)

    return all_of_it


async def called(answer: Any, **options: Any) -> Any:
    async with served(calling(answer)) as url:
        async with Tools.from_mcp(url, McpOptions(**{"within": SOON, "connect_within": SOON} | options)) as tools:
            return await tools["echo"].call({})


async def hangs(message: Any, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def half_a_head(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    await asyncio.sleep(60)


async def half_a_body(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, length=1000) + b'{"jsonrpc"')
    await asyncio.sleep(60)


async def silent_events(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, EVENTS))
    while True:
        writer.write(chunk(b": still here\n\n"))
        await writer.drain()
        await asyncio.sleep(0.05)


async def closes(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def cut(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, length=1000) + b'{"jsonrpc"')
    await writer.drain()
    writer.close()


async def ends_its_events(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, EVENTS) + chunk(b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n') + b"0\r\n\r\n")


async def floods(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, EVENTS))
    while True:
        writer.write(chunk(b'data: {"jsonrpc":"2.0","method":"notifications/x"}\n\n' * 1000))
        await writer.drain()


async def long_event(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, EVENTS) + chunk(b"data: "))
    while True:
        writer.write(chunk(b"x" * 65536))
        await writer.drain()


async def long_body(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200))
    while True:
        writer.write(chunk(b" " * 65536))
        await writer.drain()


async def garbage(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, b"<html>502</html>")


async def a_page(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(200, "text/html", length=4) + b"oops")


async def a_batch(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, [result(message, {"content": []})])


async def another_id(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, {"jsonrpc": "2.0", "id": 999, "result": {"content": []}})


async def nothing(message: Any, writer: asyncio.StreamWriter) -> None:
    writer.write(head(202, length=0))


async def refuses(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, b"who are you", 401)


async def points_elsewhere(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, b"", 307, "location: http://127.0.0.1:1/stolen\r\n")


async def breaks(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, b"oops", 500)


async def unread(message: Any, writer: asyncio.StreamWriter) -> None:
    await reply(writer, {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "I cannot read"}}, 400)


@pytest.mark.parametrize("answer", [hangs, half_a_head, half_a_body, silent_events])
async def test_a_call_without_an_answer_ends_in_time(answer: Any) -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await called(answer, within=0.3)
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (closes, "127.0.0.1/mcp: "),
        (cut, "127.0.0.1/mcp: "),
        (ends_its_events, "before it was whole"),
        (floods, "bytes of events, and no answer"),
        (long_event, "longer than 1048576 bytes"),
        (long_body, "longer than 1048576 bytes"),
        (garbage, "not JSON"),
        (a_page, "'text/html'"),
        (a_batch, "not one message"),
        (another_id, "no answer to request"),
        (nothing, "status 202"),
        (refuses, "status 401"),
        (points_elsewhere, "status 307"),
        (breaks, "status 500"),
        (unread, "I cannot read"),
    ],
)
async def test_answers_that_are_none_are_errors(answer: Any, said: str) -> None:
    with pytest.raises(McpServerFailed) as caught:
        await called(answer, most_bytes=1 << 20)
    assert said in caught.value.message


async def test_nobody_listens() -> None:
    with pytest.raises(McpServerFailed, match="cannot connect"):
        async with Tools.from_mcp("http://127.0.0.1:1/mcp"):
            pass


async def test_a_tool_that_failed_says_why() -> None:
    async def failed(message: Any, writer: asyncio.StreamWriter) -> None:
        await reply(writer, result(message, {"content": [{"type": "text", "text": "no such city"}], "isError": True}))

    with pytest.raises(McpToolFailed, match="no such city"):
        await called(failed)


async def test_a_call_that_is_cancelled_is_ended_at_the_server() -> None:
    """The request is closed, and in the handshake era a notification names the call."""
    began, gone, told = asyncio.Event(), asyncio.Event(), list[Any]()

    async def answer(method: str, headers: dict[str, str], message: Any, writer: asyncio.StreamWriter) -> None:
        if message.get("method") == "notifications/cancelled":
            told.append(message["params"]["requestId"])
        if method != "POST" or await greet(message, writer):
            return
        told.append(message["id"])
        began.set()
        writer.write(head(200, EVENTS))
        try:
            while True:
                writer.write(chunk(b": here\n\n"))
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    async with served(answer) as url, Tools.from_mcp(url, McpOptions(within=SOON)) as tools:
        call = asyncio.ensure_future(tools["echo"].call({}))
        await began.wait()
        call.cancel()
        await asyncio.wait_for(gone.wait(), SOON)
        await until(lambda: len(told) == 2)
        assert told[0] == told[1]


async def test_a_session_that_the_server_forgot_is_begun_anew() -> None:
    seen: list[tuple[str, str]] = []

    async def answer(method: str, headers: dict[str, str], message: Any, writer: asyncio.StreamWriter) -> None:
        if method != "POST":
            writer.write(head(200, length=0))
            return
        seen.append((message.get("method", ""), headers.get("mcp-session-id", "")))
        beginnings = sum(1 for name, _ in seen if name == "initialize")
        if await greet(message, writer, more=f"mcp-session-id: s{beginnings}\r\n"):
            return
        if headers["mcp-session-id"] == "s1":
            await reply(writer, b"", 404)
        else:
            await reply(writer, result(message, {"content": [{"type": "text", "text": "well"}]}))

    async with served(answer) as url, Tools.from_mcp(url, McpOptions(within=SOON, protocol="handshake")) as tools:
        assert await tools["echo"].call({}) == "well"
    assert [session for name, session in seen if name == "tools/call"] == ["s1", "s2"]


async def test_a_server_that_forgets_each_session_is_an_error() -> None:
    async def answer(method: str, headers: dict[str, str], message: Any, writer: asyncio.StreamWriter) -> None:
        if method != "POST" or not await greet(message, writer, more="mcp-session-id: s\r\n"):
            await reply(writer, b"", 404)

    async with served(answer) as url, Tools.from_mcp(url, McpOptions(within=SOON, protocol="handshake")) as tools:
        with pytest.raises(McpServerFailed, match="forgets each session"):
            await tools["echo"].call({})


async def test_keys_are_sent_and_not_shown() -> None:
    seen: list[str] = []

    async def answer(method: str, headers: dict[str, str], message: Any, writer: asyncio.StreamWriter) -> None:
        seen.append(headers.get("authorization", ""))
        if not await greet(message, writer):
            await reply(writer, failure(message), 401)

    options = McpOptions(headers={"Authorization": "Bearer of-a-test"}, protocol="handshake")
    async with served(answer) as url, Tools.from_mcp(url, options) as tools:
        with pytest.raises(McpServerFailed) as caught:
            await tools["echo"].call({})
    assert set(seen) == {"Bearer of-a-test"}
    assert "of-a-test" not in f"{caught.value} {options!r} {tools!r}"
