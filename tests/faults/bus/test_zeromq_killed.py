"""The same for the ZeroMQ carrier: members killed or stopped at each step of publish, ask and receipt, acknowledgements
included. Nobody hangs, nothing comes twice or out of order, and what is missing is told.

What a killed writer had not yet given to its kernel dies with it, unlike a ring: so a reader sees a beginning of it.
"""

import asyncio
import signal
import time
from typing import Any

import pytest

from tests.support.bus.child import body, intact
from tests.support.bus.members import eventually, members, process
from transports.bus import DeadlineExceeded, Gap, Message, PeerLost, Policy, SubscribeOptions, WriterGone
from transports.bus.failpoints import ZMQ_ASK_POINTS, ZMQ_QUERY_POINTS, ZMQ_READER_POINTS, ZMQ_WRITER_POINTS

ZMQ = {"carrier": "zmq"}
PUBLISH_POINTS = [point for point in ZMQ_WRITER_POINTS if point != "zmq_repaired"]
RELIABLE = Policy.RELIABLE


def told(items: list[Any]) -> list[int]:
    """Numbers of the messages, in the order in which they came."""
    return [item.seq for item in items if isinstance(item, Message)]


@pytest.mark.parametrize("policy", list(Policy)[::2])
@pytest.mark.parametrize("point", PUBLISH_POINTS)
async def test_writer_killed_at_each_step_of_a_publish(point: str, policy: Policy) -> None:
    async with members(**ZMQ) as group:
        reader = await group.join()
        items: list[Any] = []
        await reader.subscribe("t", items.append, SubscribeOptions(policy=policy, on_event=items.append))
        async with process(group.name, **ZMQ) as writer:
            await writer.do("failpoint", point, "kill", 0 if point == "zmq_ticked" else 100)
            writer.tell("publish", "t", 300, 200)
            assert await writer.ended() == -signal.SIGKILL
            await eventually(lambda: any(isinstance(item, WriterGone) for item in items))
        numbers = told(items)
        gaps = [item for item in items if isinstance(item, Gap)]
        assert numbers == sorted(set(numbers))
        assert len(numbers) + sum(gap.count for gap in gaps) == (max(numbers) if numbers else 0)
        assert not numbers or point == "zmq_ticked" or max(numbers) <= 101
        assert all(intact(item.payload) for item in items if isinstance(item, Message))
        assert isinstance(items[-1], WriterGone)
        assert len(reader.members()) == 1


@pytest.mark.parametrize("point", PUBLISH_POINTS)
async def test_writer_stopped_at_each_step_of_a_publish_and_continued(point: str) -> None:
    async with members(**ZMQ) as group:
        reader = await group.join()
        items: list[Any] = []
        await reader.subscribe("t", items.append, SubscribeOptions(policy=RELIABLE, on_event=items.append))
        async with process(group.name, **ZMQ) as writer:
            await writer.do("failpoint", point, "stop", 0 if point == "zmq_ticked" else 100)
            writer.tell("publish", "t", 300, 200)
            await writer.stopped()
            await asyncio.sleep(0.1)
            writer.signal(signal.SIGCONT)
            await eventually(lambda: len(items) == 300)
        assert told(items[:300]) == list(range(1, 301))


@pytest.mark.parametrize("point", ZMQ_READER_POINTS)
async def test_reliable_reader_killed_at_each_step(point: str) -> None:
    """It holds the writer up no longer than until it is known to be dead; the other one misses nothing."""
    async with members(**ZMQ, ring_bytes=65536, hold_within=30.0) as group:
        writer, survivor = await group.join(), await group.join()
        seen: list[int] = []
        await survivor.subscribe("t", lambda m: seen.append(m.payload["n"]), SubscribeOptions(policy=RELIABLE))
        async with process(group.name, **ZMQ) as reader:
            await reader.do("subscribe", "t", "reliable")
            await reader.do("failpoint", point, "kill", 20 if point == "zmq_taken" else 1)
            started = time.monotonic()
            for n in range(3000):
                await writer.publish("t", body(n, 50))
                if n % 50 == 0:
                    await asyncio.sleep(0.001)
            receipt = await writer.publish("t", body(3000, 50)).settled(within=5)
            assert await reader.ended() == -signal.SIGKILL
            assert time.monotonic() - started < 25
            assert (receipt.seen, receipt.lagging, receipt.lost) == (1, 0, 0)
            await eventually(lambda: len(writer.members()) == 2)
        assert seen == list(range(3001))
        assert writer.status().counters["evictions"] == 0


@pytest.mark.parametrize("point", ZMQ_READER_POINTS)
async def test_reliable_reader_stopped_at_each_step_and_continued(point: str) -> None:
    """The writer waits for it; then it has seen everything, once."""
    async with members(**ZMQ, ring_bytes=65536, hold_within=30.0) as group:
        writer = await group.join()
        async with process(group.name, **ZMQ) as reader:
            await reader.do("subscribe", "t", "reliable")
            await reader.do("failpoint", point, "stop", 20 if point == "zmq_taken" else 1)

            async def publish() -> Any:
                for n in range(3000):
                    receipt = writer.publish("t", body(n, 50))
                    await receipt
                return await receipt.settled(within=10)

            publishing = asyncio.create_task(publish())
            await reader.stopped()
            await eventually(lambda: writer.status().counters["held_up"])
            assert not publishing.done()
            reader.signal(signal.SIGCONT)
            assert (await publishing).seen == 1
            seen, torn, missing, counters = await reader.report()
            assert (seen, torn, missing) == (3000, 0, 0)
            assert counters["gaps"] == 0
        assert writer.status().counters["evictions"] == 0


async def test_stopped_reliable_reader_is_evicted_by_name_and_told() -> None:
    async with members(**ZMQ, ring_bytes=65536, hold_within=0.3) as group:
        writer = await group.join()
        async with process(group.name, label="sleeper", **ZMQ) as reader:
            await reader.do("subscribe", "t", "reliable")
            reader.signal(signal.SIGSTOP)
            await reader.stopped()
            started = time.monotonic()
            for n in range(6000):
                await writer.publish("t", body(n, 100))
            assert 0.2 < time.monotonic() - started < 15
            assert writer.status().counters["evictions"] == 1
            reader.signal(signal.SIGCONT)
            await eventually(lambda: reader.count("Evicted") and reader.count("Gap"), 10)
            receipt = await writer.publish("t", body(6000, 100)).settled(within=10)
            assert receipt.seen == 1
            seen, torn, missing, counters = await reader.report()
            assert (torn, missing) == (0, 0)
            assert seen + counters["lost"] == 6001


@pytest.mark.parametrize("dies", ["writer", "reader"])
async def test_killed_while_dropped_messages_are_sent_again(dies: str) -> None:
    """What a stopped reader cannot take, PUB drops; while it is sent again, one of the two is killed."""
    count = 20_000
    async with members(**ZMQ) as group:
        other = await group.join()
        async with (
            process(group.name, ring_bytes=1 << 24, **ZMQ) as writer,
            process(group.name, **ZMQ) as reader,
        ):
            await reader.do("subscribe", "t", "lossy")
            if dies == "reader":
                await reader.do("failpoint", "zmq_taken", "kill", count // 2)
            reader.signal(signal.SIGSTOP)
            await reader.stopped()
            await writer.do("publish", "t", count, 200, within=60)
            if dies == "writer":
                await writer.do("failpoint", "zmq_repaired", "kill", 10)
            reader.signal(signal.SIGCONT)
            if dies == "writer":
                assert await writer.ended() == -signal.SIGKILL
                await eventually(lambda: reader.count("WriterGone"), 10)
                seen, torn, missing, counters = await reader.report()
                assert (torn, missing) == (0, 0)
                assert counters["lost"] > 0
                assert seen + counters["lost"] <= count
            else:
                assert await reader.ended() == -signal.SIGKILL
                await eventually(lambda: len(other.members()) == 2)
                items: list[Any] = []
                await other.subscribe("t", items.append, SubscribeOptions(on_event=items.append))
                await writer.do("publish", "t", 100, 200)
                await eventually(lambda: told(items) == list(range(count + 1, count + 101)))


@pytest.mark.parametrize("point", ZMQ_ASK_POINTS[:1])
async def test_asker_killed_at_each_step(point: str) -> None:
    async with members(**ZMQ) as group:
        server = await group.join()
        served: list[int] = []

        def serve(request: Any) -> None:
            served.append(request.payload)
            request.reply(None)

        await server.register("x", serve)
        async with process(group.name, **ZMQ) as asker:
            await asker.do("failpoint", point, "kill", 50)
            asker.tell("ask", "x", 1000)
            assert await asker.ended() == -signal.SIGKILL
            await eventually(lambda: len(server.members()) == 1)
        assert served in (list(range(50)), list(range(51)))  # the last one may not have left its process
        other = await group.join()
        assert (await other.ask("x", 1)).payload is None


@pytest.mark.parametrize("point", ZMQ_ASK_POINTS)
async def test_server_killed_at_each_step_of_an_ask(point: str) -> None:
    """Before its reply has left and after: the caller gets the reply or PeerLost, at once, and never waits for its
    deadline.
    """
    async with members(**ZMQ) as group:
        asker = await group.join()
        async with process(group.name, **ZMQ) as server:
            await server.do("register", "x")
            await asker.wait_for("x")
            await server.do("failpoint", point, "kill", 20)
            started = time.monotonic()
            asking = [asyncio.create_task(asker.ask("x", n, within=30)) for n in range(50)]
            results = await asyncio.gather(*asking, return_exceptions=True)
            assert time.monotonic() - started < 5
            assert await server.ended() == -signal.SIGKILL
        for n, result in enumerate(results):
            if isinstance(result, Message):
                assert result.payload == n
            else:
                assert isinstance(result, PeerLost)
        assert sum(isinstance(result, PeerLost) for result in results) >= 25


@pytest.mark.parametrize("point", ZMQ_ASK_POINTS)
async def test_server_stopped_at_each_step_of_an_ask_and_continued(point: str) -> None:
    async with members(**ZMQ) as group:
        asker = await group.join()
        async with process(group.name, **ZMQ) as server:
            await server.do("register", "x")
            await asker.wait_for("x")
            await server.do("failpoint", point, "stop", 20)
            asking = [asyncio.create_task(asker.ask("x", n, within=20)) for n in range(50)]
            await server.stopped()
            with pytest.raises(DeadlineExceeded):
                await asker.ask("x", 1, within=0.1)
            server.signal(signal.SIGCONT)
            assert [reply.payload for reply in await asyncio.gather(*asking)] == list(range(50))


@pytest.mark.parametrize("action", ["kill", "stop"])
@pytest.mark.parametrize("point", ZMQ_QUERY_POINTS)
async def test_reader_killed_or_stopped_while_a_receipt_is_asked(point: str, action: str) -> None:
    async with members(**ZMQ) as group:
        writer = await group.join()
        async with process(group.name, **ZMQ) as reader:
            await reader.do("subscribe", "t", "reliable")
            assert (await writer.publish("t", body(1, 10)).settled(within=5)).seen == 1
            await reader.do("failpoint", point, action, 0)
            started = time.monotonic()
            receipt = writer.publish("t", body(2, 10))
            first = await receipt.settled(within=1.0)
            assert time.monotonic() - started < 3
            assert first.seen + first.lagging + first.dead == 1
            if action == "kill":
                assert await reader.ended() == -signal.SIGKILL
                last = await receipt.settled(within=5)
                assert (last.lagging, last.seen + last.dead) == (0, 1)
            else:
                await reader.stopped()
                if not first.seen:
                    assert first.lagging_members == (reader.id,)
                reader.signal(signal.SIGCONT)
                assert (await receipt.settled(within=5)).seen == 1
