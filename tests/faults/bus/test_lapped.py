"""Readers lapped under load by several writers: every message is whole, and every missing one is told."""

import asyncio
import contextlib
import signal

import pytest

from tests.support.bus.members import Process, members, process


async def lap(seconds: float, writers: int, readers: int) -> None:
    async with members() as group, contextlib.AsyncExitStack() as stack:
        host = await group.join()
        reading = [await stack.enter_async_context(process(group.name)) for _ in range(readers)]
        for reader in reading:
            await reader.do("subscribe", "t.>", "lossy")
        writing = [await stack.enter_async_context(process(group.name, ring_bytes=65536)) for _ in range(writers)]
        await asyncio.gather(
            fall_behind(reading[0], seconds),
            *(writer.do("flood", f"t.{n}", seconds, 200, within=seconds + 60) for n, writer in enumerate(writing)),
        )
        await asyncio.sleep(0.5)
        published = sum([(await writer.report())[3]["published"] for writer in writing])
        lost = 0
        for reader in reading:
            seen, torn, missing, counters = await reader.report()
            assert torn == 0
            assert missing == 0  # but for what a Gap told
            assert seen + counters["lost"] == published
            assert counters["missed_wakes"] == 0
            lost += counters["lost"]
        assert lost > 0, "no reader was lapped: the test shows nothing"
        assert host.status().counters["missed_wakes"] == 0


async def fall_behind(reader: Process, seconds: float) -> None:
    """Now and then it sleeps long enough to be lapped: on a busy machine readers may keep up with slow writers."""
    for _ in range(5):
        await asyncio.sleep(seconds / 8)
        reader.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(0.05)
        finally:
            reader.signal(signal.SIGCONT)


async def test_lapped_under_load() -> None:
    await lap(seconds=2.0, writers=2, readers=2)


@pytest.mark.soak
async def test_lapped_under_load_for_a_minute_and_more() -> None:
    await lap(seconds=75.0, writers=3, readers=3)
