"""The first messages of a writer: once their publications have returned, they are delivered, whoever is killed then."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.bus.members import Members, Process, eventually, members, process
from transports.bus import Bus, Closed, DeadlineExceeded, Gap, Message, Policy, Receipt, SubscribeOptions
from transports.bus.failpoints import RING_POINT
from transports.bus.registry import membership

COUNT = 5


@asynccontextmanager
async def host_stopped_at_ring(group: Members) -> AsyncIterator[Process]:
    """Process that hosts the registry, and stops when it is about to hand the first ring over."""
    async with process(group.name, failpoint=f"{RING_POINT}:stop") as host:
        yield host


async def reliable(bus: Bus) -> list[Any]:
    items: list[Any] = []
    await bus.subscribe("t", items.append, SubscribeOptions(policy=Policy.RELIABLE, on_event=items.append))
    return items


def numbers(items: list[Any]) -> list[int]:
    return [item.payload["n"] for item in items if isinstance(item, Message)]


async def returned(receipt: Receipt) -> Receipt:
    return await receipt


@pytest.mark.parametrize("ends", ["goes on", "is killed"])
async def test_publish_returns_once_every_reader_has_been_sent_the_ring(ends: str) -> None:
    async with members() as group, host_stopped_at_ring(group) as host:
        items = await reliable(await group.join())
        async with process(group.name) as writer:
            writer.tell("publish", "t", COUNT, 100)
            await host.stopped()
            await asyncio.sleep(0.2)
            assert not writer.count("done", "publish")
            host.signal(signal.SIGKILL if ends == "is killed" else signal.SIGCONT)
            await eventually(lambda: writer.count("done", "publish"), 20)
            writer.signal(signal.SIGKILL)
            await eventually(lambda: len(numbers(items)) == COUNT)
        assert numbers(items) == list(range(COUNT))
        assert not [item for item in items if isinstance(item, Gap)]


async def test_publish_returns_once_a_reader_that_comes_back_late_has_been_sent_the_ring() -> None:
    async with members() as group, host_stopped_at_ring(group) as host, process(group.name) as reader:
        await reader.do("subscribe", "t", "reliable")
        async with process(group.name) as writer:
            writer.tell("publish", "t", COUNT, 100)
            await host.stopped()
            reader.signal(signal.SIGSTOP)
            await reader.stopped()
            host.signal(signal.SIGKILL)
            await asyncio.sleep(1.0)
            assert not writer.count("done", "publish")  # it hosts the next registry, which nobody else knows of yet
            reader.signal(signal.SIGCONT)
            await eventually(lambda: writer.count("done", "publish"), 20)
            writer.signal(signal.SIGKILL)
            assert await writer.ended() == -signal.SIGKILL
        await eventually(lambda: reader.count("WriterGone"), 20)
        seen, torn, missing, counters = await reader.report()
        assert (seen, torn, missing) == (COUNT, 0, 0)
        assert counters["gaps"] == 0


async def test_what_is_not_awaited_waits_for_nobody() -> None:
    async with members() as group, host_stopped_at_ring(group) as host:
        writer = await group.join()
        items = await reliable(writer)
        receipts = [writer.publish("t", {"n": n}) for n in range(COUNT)]
        assert [receipt.seq for receipt in receipts] == [1, 2, 3, 4, 5]
        await host.stopped()
        await eventually(lambda: len(numbers(items)) == COUNT)
        waiting = asyncio.gather(*map(returned, receipts))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        host.signal(signal.SIGCONT)
        assert [receipt.seq for receipt in await waiting] == [1, 2, 3, 4, 5]
        assert await returned(receipts[0]) is receipts[0]


async def test_publish_that_is_held_up_returns_only_then_as_well() -> None:
    async with members(ring_bytes=65536) as group, host_stopped_at_ring(group) as host:
        writer = await group.join()
        items = await reliable(writer)  # a writer waits for itself, too
        receipts = [writer.publish("t", {"n": n, "data": bytes(1000)}) for n in range(200)]
        assert receipts[-1].seq == 0
        last = asyncio.ensure_future(returned(receipts[-1]))
        await host.stopped()
        await eventually(lambda: len(numbers(items)) == 200)
        await asyncio.sleep(0.1)
        assert not last.done()
        host.signal(signal.SIGCONT)
        assert (await last).seq == 200


async def test_registry_that_does_not_answer_is_reported_and_later_publications_return(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with members() as group, host_stopped_at_ring(group) as host:
        writer, reader = await group.join(), await group.join()
        items = await reliable(reader)
        monkeypatch.setattr(membership, "WITHIN", 0.2)
        receipt = writer.publish("t", {"n": 0})
        with pytest.raises(DeadlineExceeded, match="in the ring"):
            await receipt
        assert receipt.seq == 1
        later = asyncio.ensure_future(returned(writer.publish("t", {"n": 1})))
        host.signal(signal.SIGCONT)
        assert (await later).seq == 2
        await eventually(lambda: numbers(items) == [0, 1])
        assert await returned(writer.publish("t", {"n": 2}))


async def test_leaving_ends_the_wait() -> None:
    async with members() as group, host_stopped_at_ring(group) as host:
        writer = await group.join()
        waiting = asyncio.ensure_future(returned(writer.publish("t", {"n": 0})))
        await host.stopped()
        async with asyncio.timeout(2):
            await writer.leave(within=0.1)
            with pytest.raises(Closed, match="not all members"):
                await waiting
        with pytest.raises(Closed):
            writer.publish("t", {"n": 1})
