"""Listening in band on every carrier: messages and events as an async iterator."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.bus.members import Members, eventually
from transports.bus import (
    Gap,
    Message,
    Policy,
    SubscribeOptions,
)


async def test_listening_in_band(group: Members) -> None:
    a, b = await group.join(), await group.join()
    async with b.listen("t.>", depth=10) as items:
        for n in range(25):
            await a.publish("t.x", n)
        await a.publish("t.end", None).settled(within=5)
        got: list[Any] = []
        async with asyncio.timeout(5):
            async for item in items:
                got.append(item)
                if isinstance(item, Message) and item.topic == "t.end":
                    break
    assert sum(item.count if isinstance(item, Gap) else 1 for item in got) == 26
    assert len(got) <= 11


async def test_a_listener_that_does_not_look_holds_no_more_than_its_depth(group: Members) -> None:
    """Of however many writers: each message that had no room is in the one gap of its writer."""
    a, b, c = await group.join(), await group.join(), await group.join()
    async with c.listen("t.>", depth=10) as items:
        for n in range(200):
            await a.publish("t.x", n)
            await b.publish("t.x", n)
            await asyncio.sleep(0)
        for writer in (a, b):
            assert (await writer.publish("t.end", None).settled(within=5)).seen == 1
        got: list[Any] = []
        async with asyncio.timeout(5):
            async for item in items:
                got.append(item)
                if sum(isinstance(one, Message) and one.topic == "t.end" for one in got) == 2:
                    break
    gaps = [item for item in got if isinstance(item, Gap)]
    assert len(got) - len(gaps) == 10
    assert sorted(gap.writer for gap in gaps) == sorted({a.id, b.id})
    assert 10 + sum(gap.count for gap in gaps) == 402


async def test_listening_reliably_holds_the_writer_and_loses_nothing(group: Members) -> None:
    a = await group.join(ring_bytes=65536, hold_within=30.0)
    b = await group.join()
    async with b.listen("t", SubscribeOptions(policy=Policy.RELIABLE), depth=8) as items:
        publishing = [a.publish("t", [n, b"x" * 200]) for n in range(1000)]
        got: list[int] = []
        async with asyncio.timeout(20):
            async for item in items:
                assert isinstance(item, Message)
                got.append(item.payload[0])
                if len(got) % 100 == 0:
                    await asyncio.sleep(0.001)
                if len(got) == len(publishing):
                    break
    assert got == list(range(1000))


async def test_subscribing_while_a_full_listener_holds_our_own_messages_back(group: Members) -> None:
    a = await group.join(hold_within=30.0)
    seen: list[int] = []
    async with a.listen("t", SubscribeOptions(policy=Policy.RELIABLE), depth=8) as items:
        for n in range(100):
            a.publish("t", n)
        await asyncio.sleep(0.05)  # nobody takes any: the listener is full
        for n in range(100, 110):
            a.publish("t", n)
        async with asyncio.timeout(10):
            await a.subscribe("u", lambda m: seen.append(m.payload))
        a.publish("u", 1)
        got = [item.payload async for item in _first(items, 110)]
    assert got == list(range(110))
    await eventually(lambda: seen == [1])


async def _first(items: Any, count: int) -> AsyncIterator[Message]:
    async for item in items:
        if isinstance(item, Message):
            yield item
            count -= 1
            if not count:
                return


@pytest.mark.parametrize("policy", [Policy.LOSSY, Policy.LATEST])
async def test_a_listener_that_nobody_reads_is_bounded_and_loses_nothing_in_silence(
    group: Members, policy: Policy
) -> None:
    a, b = await group.join(), await group.join()
    async with a.listen("x", SubscribeOptions(policy=policy), depth=4) as items:
        for n in range(200):
            for bus in (a, b):
                await bus.publish("x", n).settled(within=1)
        for n in range(50):  # laps, as the carrier tells them
            for bus in (a, b):
                items._event(Gap(bus.id, 201 + n, 201 + n, 1))
        assert len(items._items) + len(items._newest) + len(items._before) <= 4 + 4 + 2
        got = [item async for item in _all_there(items)]
    assert all(isinstance(item, Gap | Message) for item in got)
    if policy is Policy.LOSSY:
        for bus in (a, b):
            lost = sum(item.count for item in got if isinstance(item, Gap) and item.writer == bus.id)
            assert lost + sum(isinstance(item, Message) and item.member == bus.id for item in got) == 250


async def _all_there(items: Any) -> AsyncIterator[Any]:
    while items._items or items._newest or items._before:
        yield await anext(items)


async def test_leaving_ends_listening(group: Members) -> None:
    """Also for whoever waits for the next message then, and for more than one who do."""
    a, b = await group.join(), await group.join()
    items = a.listen("x")
    await items.__aenter__()

    async def read() -> list[Any]:
        return [item.payload async for item in items if isinstance(item, Message)]

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await b.publish("x", 1).settled(within=1)
    await b.publish("x", 2).settled(within=1)
    await a.leave()
    async with asyncio.timeout(5):
        read_by = await asyncio.gather(*readers)
    assert sorted(read_by[0] + read_by[1]) == [1, 2]
    await items.aclose()


async def test_a_full_listener_holds_up_who_publishes_for_the_first_time(group: Members) -> None:
    """And whoever asks for receipts: neither way leads around a queue that is full."""
    a, b = await group.join(), await group.join()
    reliable = SubscribeOptions(policy=Policy.RELIABLE)
    async with a.listen("x", reliable, depth=4) as items:
        for n in range(20):
            b.publish("x", n)
        await eventually(lambda: items._holding)
        held = len(items._items)
        c = await group.join()
        for n in range(300):
            for bus in (b, c, a):
                bus.publish("x", n)
            if n % 10 == 0:
                await b.publish("x", n).settled(within=0.001)
        assert len(items._items) <= held + 20
        _ = [item async for item in _first(items, 20 + 930)]
