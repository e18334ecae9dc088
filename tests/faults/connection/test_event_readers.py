"""Readers and listeners of events that do everything wrong: no call waits for them, and none fails."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from tests.support.providers.servers import connected, hello
from three_mode import LLMConnection, sync
from three_mode.connection import Observing
from three_mode.errors import ConfigurationError, StreamInterrupted
from three_mode.events import EventGap, LLMEvent, ResponseComplete
from three_mode.testing import Fault, Turn


async def test_a_reader_that_never_reads_holds_no_more_than_its_room_and_no_call_waits() -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=("x",) * 50))
        reader = llm.events(["response_chunk", "response_complete"], waiting=10)
        replies = [await llm.stream(hello()).text() for _ in range(20)]
        assert replies == ["x" * 50] * 20
        assert reader.waiting == 10
        gap, *rest = await reader.batch()
        assert isinstance(gap, EventGap)
        assert gap.count == reader.lost == 20 * 51 - 10
        assert isinstance(rest[-1], ResponseComplete), "the newest stay"


async def test_a_reader_that_leaves_in_the_midst_of_a_stream_ends_nothing() -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=("a", "b", "c")))

        async def read_one() -> str:
            async for event in llm.events(["response_chunk"]):
                return event.kind
            return ""

        reading = asyncio.create_task(read_one())
        await asyncio.sleep(0)
        assert await llm.stream(hello()).text() == "abc"
        assert await asyncio.wait_for(reading, 5) == "response_chunk"
        assert not llm.event_hub.wanted


async def test_a_listener_that_raises_ends_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: LLMEvent) -> None:
        raise KeyError(event.kind)

    async with connected(observe=Observing(events=broken)) as (llm, _):
        assert (await llm.chat_completion(hello())).content == "Hello world!"
        assert await llm.stream(hello()).text() == "Hello world!"
    assert "event_listener_failed" in caplog.messages


async def test_a_listener_that_leaves_or_closes_while_it_is_told() -> None:
    async with connected() as (llm, _):
        seen: list[str] = []

        def once(event: LLMEvent) -> None:
            seen.append(event.kind)
            leave()

        leave = llm.event_hub.listen(once)
        assert (await llm.chat_completion(hello())).content == "Hello world!"
        assert seen == ["response_start"]


@pytest.mark.parametrize("how", ["connection", "reader"])
async def test_who_waits_for_an_event_gets_the_end_when_it_is_closed(how: str) -> None:
    async with connected() as (llm, _):
        reader = llm.events()

        async def read() -> list[LLMEvent]:
            return [event async for event in reader]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        if how == "connection":
            await llm.close()
        else:
            await reader.aclose()
        assert await asyncio.wait_for(reading, 5) == []


async def test_calls_that_closing_cuts_are_told_before_the_end() -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=("a", "b")), fault=Fault(stall_after=2))
        reader = llm.events(["response_complete"])
        reading = asyncio.create_task(llm.stream(hello()).text())
        async with llm.events(["response_chunk"]) as pieces:
            await asyncio.wait_for(anext(pieces), 5)
        await llm.close()
        await asyncio.wait([reading], timeout=5)
        told = [event async for event in reader]
        assert isinstance(reading.exception(), ConfigurationError | StreamInterrupted)
        assert [event.error for event in told if isinstance(event, ResponseComplete)] == ["ConfigurationError"]


async def test_a_reader_on_another_loop_gets_an_error() -> None:
    async with connected() as (llm, _):
        reader, waits, found = llm.events(), threading.Event(), list[BaseException]()

        async def read() -> None:
            asyncio.get_running_loop().call_soon(waits.set)
            await anext(reader)

        def elsewhere() -> None:
            try:
                asyncio.run(read())
            except ConfigurationError as error:
                found.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(waits.wait, 5)
        assert (await llm.chat_completion(hello())).content == "Hello world!"
        await asyncio.to_thread(thread.join, 5)
        assert "another event loop" in str(found[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_forked_child_cannot_read_its_parents_events(tmp_path: Path) -> None:
    async with connected() as (llm, _):
        reader = llm.events()
        child = os.fork()
        if child == 0:
            try:
                reader._queue._waiting = None
                reader.__anext__().send(None)
            except ConfigurationError as error:
                (tmp_path / "said").write_text(str(error))
            finally:
                os._exit(0)
        await asyncio.to_thread(os.waitpid, child, 0)
        assert "forked from" in (tmp_path / "said").read_text()


def test_closing_without_a_loop_ends_another_threads_wait() -> None:
    llm = sync.LLMConnection(model="tiny")
    events, found = llm.events(), list[list[LLMEvent]]()
    thread = threading.Thread(target=lambda: found.append(list(events)))
    thread.start()
    llm.close()
    thread.join(5)
    assert found == [[]]


async def test_a_connection_that_was_never_used_closes_its_readers_too() -> None:
    llm = LLMConnection(model="tiny")
    reader = llm.events()
    await llm.close()
    assert [event async for event in reader] == []
