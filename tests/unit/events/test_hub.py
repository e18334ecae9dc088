"""The hub, its bounded readers and its listeners, without a connection."""

import asyncio
import gc
import logging

import pytest

from three_mode.errors import ConfigurationError
from three_mode.events import CallRetry, ConnectionHub, EventGap, EventReader, LLMEvent, ResponseChunk


def chunk(number: int) -> ResponseChunk:
    return ResponseChunk(time=0.0, text=str(number))


def texts(events: list[LLMEvent]) -> list[object]:
    return [event.text if isinstance(event, ResponseChunk) else event for event in events]


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    hub = ConnectionHub()
    reader = EventReader(hub, waiting=3)
    for number in range(8):
        hub.publish(chunk(number))
    assert (reader.waiting, reader.lost) == (3, 5)
    gap = await anext(reader)
    assert isinstance(gap, EventGap)
    assert gap.count == 5
    assert texts([await anext(reader) for _ in range(3)]) == ["5", "6", "7"]
    hub.publish(chunk(8))
    assert texts(await reader.batch()) == ["8"], "what was told is not told again"


async def test_a_gap_is_told_also_to_who_asks_for_other_kinds_alone() -> None:
    hub = ConnectionHub()
    reader = EventReader(hub, ["response_chunk"], waiting=1)
    for number in range(3):
        hub.publish(chunk(number))
    gap, last = reader.take()
    assert isinstance(gap, EventGap)
    assert (gap.count, texts([last])) == (2, ["2"])


async def test_two_readers_of_different_kinds() -> None:
    hub = ConnectionHub()
    chunks, retries = EventReader(hub, ["response_chunk"]), EventReader(hub, "retry")
    assert hub.wanted == {"response_chunk", "retry"}
    hub.publish(chunk(1))
    hub.publish(CallRetry(time=0.0))
    assert [event.kind for event in chunks.take()] == ["response_chunk"]
    assert [event.kind for event in retries.take()] == ["retry"]
    chunks.close()
    assert hub.wanted == {"retry"}
    hub.publish(chunk(2))
    assert chunks.take() == []


async def test_a_reader_that_is_left_or_dropped_is_forgotten() -> None:
    hub = ConnectionHub()
    async with EventReader(hub):
        assert hub.wanted
    assert not hub.wanted
    dropped = EventReader(hub)
    assert hub.wanted
    del dropped
    gc.collect()
    assert not hub.wanted

    async def read() -> None:
        async for _ in EventReader(hub):
            break

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    hub.publish(chunk(1))
    await task
    gc.collect()
    assert not hub.wanted


async def test_who_waits_gets_the_end_when_the_connection_closes() -> None:
    hub = ConnectionHub()
    reader = EventReader(hub)
    waiting = asyncio.create_task(anext(reader, None))
    await asyncio.sleep(0)
    hub.close()
    assert await asyncio.wait_for(waiting, 5) is None
    assert await reader.batch() == []
    with pytest.raises(ConfigurationError, match="closed"):
        EventReader(hub)


async def test_what_came_before_the_end_is_read_first() -> None:
    hub = ConnectionHub()
    reader = EventReader(hub)
    hub.publish(chunk(1))
    hub.close()
    assert texts([event async for event in reader]) == ["1"]


async def test_a_wait_that_is_cancelled_loses_nothing() -> None:
    hub = ConnectionHub()
    reader = EventReader(hub)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(reader)
    hub.publish(chunk(1))
    assert texts([await anext(reader)]) == ["1"]


async def test_two_tasks_cannot_read_one_reader() -> None:
    reader = EventReader(ConnectionHub())
    first = asyncio.create_task(anext(reader))
    await asyncio.sleep(0)
    with pytest.raises(ConfigurationError, match="somebody reads these events"):
        await anext(reader)
    first.cancel()


async def test_a_listener_that_raises_hinders_nobody(caplog: pytest.LogCaptureFixture) -> None:
    hub, seen = ConnectionHub(), list[LLMEvent]()

    def broken(event: LLMEvent) -> None:
        raise KeyError("a bug of the listener")

    hub.listen(broken)
    leave = hub.listen(seen.append)
    with caplog.at_level(logging.ERROR, "three_mode.llm"):
        hub.publish(chunk(1))
    assert texts(seen) == ["1"]
    assert [record.message for record in caplog.records] == ["event_listener_failed"]
    leave()
    leave()
    hub.publish(chunk(2))
    assert texts(seen) == ["1"]


async def test_a_listener_is_a_plain_function() -> None:
    async def late(event: LLMEvent) -> None: ...

    hub = ConnectionHub()
    with pytest.raises(ConfigurationError, match="this one is async"):
        hub.listen(late)
    with pytest.raises(ConfigurationError, match="not to int"):
        hub.listen(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no kind of event"):
        hub.listen(print, ["nothing"])
    assert not hub.wanted


@pytest.mark.parametrize("waiting", [0, -1, 2.5])
def test_a_reader_has_room_for_an_event(waiting: int) -> None:
    hub = ConnectionHub()
    with pytest.raises(ConfigurationError, match="at least 1"):
        EventReader(hub, waiting=waiting)
    assert not hub.wanted
