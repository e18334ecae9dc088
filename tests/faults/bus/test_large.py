"""The largest payload from process to process: whole, with one copy on each side; above it a clear error."""

import asyncio
import contextlib
import signal
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.bus.members import eventually, members, process
from transports.bus import BusError, Gap, Message, PeerLost, RemoteError, SubscribeOptions, TooLarge, WriterGone
from transports.bus.registry import membership
from transports.bus.registry.election import running_buses

GIB, MIB = 1 << 30, 1 << 20
_MARGIN = 96 * MIB  # of everything else that the processes do meanwhile


@pytest.mark.soak
@pytest.mark.parametrize("carried", ["broadcast", "direct"])
async def test_a_gibibyte_with_one_copy_on_each_side(carried: str) -> None:
    """The writer has its payload and fills a segment: one copy. The reader maps that segment and copies it out: one
    more. So each has at most twice the payload in memory, of which one is the segment that they share.
    """
    async with members() as group:
        await group.join()
        async with process(group.name) as writer, process(group.name) as reader:
            await reader.do("take_large", "big")
            verb = "publish_large" if carried == "broadcast" else "send_large"
            await writer.do(verb, "big", 5 * MIB, within=30)  # what came before does not keep it from being sent
            await writer.do(verb, "big", GIB, within=200)
            await eventually(lambda: reader.count("took") == 2, 60)
            (_, crc, before_writing, wrote), (_, seen, size, before_reading, read) = (
                [event for event in child.events if event[0] == kind][-1]
                for child, kind in ((writer, "large"), (reader, "took"))
            )
            assert size == GIB
            assert seen == crc
            assert GIB // 2 < wrote - before_writing < GIB + _MARGIN  # the payload was there before
            assert GIB < read - before_reading < 2 * GIB + _MARGIN


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_more_than_a_gibibyte_is_refused_at_the_caller(carrier: str) -> None:
    async with members(carrier=carrier) as group:
        bus = await group.join()
        await bus.register("x", lambda request: request.reply(None))
        too_much = bytes(GIB + 1)  # zeros that nobody has touched take no memory
        for send in (lambda: bus.publish("t", too_much), lambda: bus.send("x", too_much)):
            with pytest.raises(TooLarge, match=f"{GIB + 1} bytes: the limit is {GIB}"):
                send()
        with pytest.raises(TooLarge):
            await bus.ask("x", too_much)


async def test_large_broadcasts_beyond_the_pool_go_out_one_after_another() -> None:
    """The pool holds two of them; nobody is waited for, so the third takes the place of the first."""
    async with members(pool_bytes=16 * MIB) as group:
        writer, reader = await group.join(), await group.join()
        items: list[Any] = []
        await reader.subscribe("t", items.append, SubscribeOptions(on_event=items.append))
        for n in range(6):
            receipt = await writer.publish("t", bytes([n]) * (5 * MIB))
            assert (await receipt.settled(within=5)).seen == 1
        assert [item.payload[0] for item in items] == list(range(6))
        for n in range(6):  # faster than anybody can read
            await writer.publish("t", bytes([n]) * (5 * MIB))
        await eventually(lambda: items[-1].seq == 12 if isinstance(items[-1], Message) else False)
        lost = sum(item.count for item in items if isinstance(item, Gap))
        assert sum(isinstance(item, Message) for item in items) + lost == 12


async def test_large_payloads_that_a_stopped_member_does_not_read_hold_nobody_else_up() -> None:
    """What waits for it may fill the pool; the others' payloads travel all the same, one at a time."""
    async with members(carrier="rings", pool_bytes=1 << 20) as group:
        a, b = await group.join(), await group.join()
        seen: list[int] = []
        await b.subscribe("t", lambda message: seen.append(len(message.payload)))
        await b.register("x", lambda request: request.reply(len(request.payload)))
        await a.wait_for("x")
        async with process(group.name) as slow:
            slow.signal(signal.SIGSTOP)
            await slow.stopped()
            for _ in range(4):
                a.send(slow.id, bytes(600_000))
            async with asyncio.timeout(10):
                await eventually(lambda: a.status().counters["large_memory"] >= 1 << 20)
                for _ in range(5):
                    assert (await a.ask("x", bytes(600_000), within=5)).payload == 600_000
                    await a.publish("t", bytes(600_000))
                await eventually(lambda: len(seen) == 5)
            slow.signal(signal.SIGCONT)


async def test_a_large_message_while_the_registry_moves_arrives() -> None:
    """The reader is back at the next registry before the writer, whose segments the registry does not know yet."""
    async with process_of(members()) as (group, host):
        writer = await group.join()
        async with process(group.name) as reader:
            await reader.do("take_large", "x")
            await writer.wait_for("x")
            await writer.ask("x", b"y" * MIB, within=5)
            back, connector = asyncio.Event(), writer._carrier._membership._connector  # type: ignore[attr-defined]
            connect = connector.connect

            async def connect_late(*arguments: Any, **named: Any) -> Any:
                await back.wait()
                return await connect(*arguments, **named)

            connector.connect = connect_late
            host.signal(signal.SIGKILL)
            await host.ended()
            await eventually(lambda: group.name in running_buses())  # the reader hosts it
            answer = asyncio.create_task(writer.ask("x", b"z" * 3 * MIB, within=5))
            await asyncio.sleep(0.3)
            back.set()
            assert (await answer).payload is None
            await eventually(lambda: reader.count("took") == 2)


@pytest.mark.parametrize("verb", ["send", "ask", "reply"])
async def test_a_payload_that_cannot_be_read_is_an_error_at_its_sender(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that its owner never announces. The messages around it arrive, in order."""
    monkeypatch.setattr(membership, "FETCH_WITHIN", 0.3)
    async with members() as group:
        told: list[tuple[str, BaseException]] = []
        a, b = await group.join(on_error=lambda *error: told.append(error)), await group.join()
        got: list[Any] = []
        silent = b if verb == "reply" else a
        silent._carrier._pool._announce = lambda uid, fd: None  # type: ignore[attr-defined]
        await b.register("x", lambda request: got.append(request.payload))
        await b.register("y", lambda request: request.reply(b"r" * MIB))
        await a.wait_for(["x", "y"])
        await a.send("x", 1)
        if verb == "send":
            await a.send("x", b"lost" * MIB)
        else:
            with pytest.raises(BusError, match="could not read the payload"):
                await a.ask("x" if verb == "ask" else "y", b"lost" * MIB if verb == "ask" else None, within=5)
        await a.send("x", 2)
        await eventually(lambda: got == [1, 2])
        if verb == "send":
            await eventually(lambda: told)
            where, error = told[0]
            assert where == "message to 'x'"
            assert isinstance(error, RemoteError)
            assert error.remote_code == "payload_lost"
        leases = [peer.link.leases.out for peer in silent._carrier._peers.values() if peer.link]  # type: ignore[attr-defined]
        started = asyncio.get_running_loop().time()
        await silent.leave()
        assert asyncio.get_running_loop().time() - started < 1.5, leases  # waits for nothing that nobody reads


async def test_a_large_message_arrives_although_its_sender_leaves_at_once() -> None:
    async with members() as group, process(group.name) as reader:
        await reader.do("take_large", "x")
        writer = await group.join()
        await writer.wait_for("x")
        await writer.ask("x", b"", within=5)
        reader.signal(signal.SIGSTOP)
        await reader.stopped()
        await writer.send("x", b"z" * 3 * MIB)
        leaving = asyncio.create_task(writer.leave(within=5))
        await asyncio.sleep(0.2)
        reader.signal(signal.SIGCONT)
        await leaving
        await eventually(lambda: reader.count("took") == 2)


@contextlib.asynccontextmanager
async def process_of(group: Any) -> AsyncIterator[tuple[Any, Any]]:
    """Members whose registry is in a process of its own."""
    async with group as joined, process(joined.name) as host:
        yield joined, host


async def test_what_follows_a_large_payload_of_a_killed_writer_is_delivered() -> None:
    """Its segment is gone with it: that message is a gap, or is reported; those before and behind it arrive."""
    async with process_of(members()) as (group, host):
        errors: list[BaseException] = []
        reader = await group.join(on_error=lambda _, error: errors.append(error))
        items: list[Any] = []
        got: list[int] = []
        await reader.subscribe("t", items.append, SubscribeOptions(on_event=items.append))
        await reader.register("x", lambda request: got.append(len(request.payload)))
        async with process(group.name) as writer:
            await writer.do("send", "x", 10)
            await writer.do("publish", "t", 1, 10)
            await eventually(lambda: len(items) == 1 and got == [10])
            host.signal(signal.SIGSTOP)  # so that no segment can be fetched
            await host.stopped()
            for size in (100, 500_000, 200):
                await writer.do("send", "x", size)
                await writer.do("publish", "t", 1, size)
            await eventually(lambda: len(items) == 2 and len(got) == 2)
            writer.signal(signal.SIGKILL)
            await writer.ended()
            host.signal(signal.SIGCONT)
            await eventually(lambda: any(isinstance(item, WriterGone) for item in items))
        assert got == [10, 100, 200]
        kinds = [type(item).__name__ for item in items]
        assert kinds == ["Message", "Message", "Gap", "Message", "WriterGone"]
        assert sum(isinstance(error, PeerLost) for error in errors) == 2


async def test_large_payloads_of_a_pair_that_is_made_again_wait_for_its_reader() -> None:
    """The reader's page says how many it has released of the pair before: none of this one."""
    async with members(carrier="rings", pair_idle=0.2, recheck=0.1) as group:
        bus = await group.join()
        async with process(group.name) as reader:
            await reader.do("take_large", "x")
            await bus.wait_for("x")
            for _ in range(5):
                await bus.ask("x", bytes(100_000), within=10)
            assert bus.status().counters["pairs"] == 1
            await eventually(lambda: not bus.status().counters["pairs"])
            reader.signal(signal.SIGSTOP)
            await reader.stopped()
            asks = [asyncio.create_task(bus.ask("x", bytes([n]) * 100_000, within=20)) for n in range(8)]
            await eventually(lambda: bus.status().counters["pairs"])
            reader.signal(signal.SIGCONT)
            await asyncio.gather(*asks)
            seen = [event[1] for event in reader.events if event[0] == "took"][-8:]
            assert seen == [zlib.crc32(bytes([n]) * 100_000) for n in range(8)]
