"""Writers, readers and the registry's host killed or stopped at each step: no hang, no torn frame, no silent loss."""

import asyncio
import signal
import time
from typing import Any

import pytest

from tests.support.bus.child import intact
from tests.support.bus.members import eventually, members, process
from transports.bus import Gap, MemberLost, Message, PeerLost, Policy, SubscribeOptions, WriterGone
from transports.bus.failpoints import POINTS, REGISTRY_POINTS
from transports.bus.rings.native import STEPS

PUT_STEPS = [step for step in STEPS if step.startswith("put")]
READ_STEPS = [step for step in STEPS if not step.startswith("put")]
BEFORE_TAIL = ("put_start", "put_oldest_stored", "put_half_copied", "put_copied")


@pytest.mark.parametrize("step", PUT_STEPS)
async def test_writer_killed_at_each_step_of_a_publish(step: str) -> None:
    async with members() as group:
        reader = await group.join()
        items: list[Any] = []
        await reader.subscribe("t", items.append, SubscribeOptions(on_event=items.append))
        async with process(group.name) as writer:
            # The ring of 1 MiB is lapped once before the step is reached, so that every store is on a used place.
            await writer.do("failpoint", step, "kill", 1500)
            writer.tell("publish", "t", 3000, 1000)
            assert await writer.ended() == -signal.SIGKILL
            await eventually(lambda: any(isinstance(item, WriterGone) for item in items))
        messages = [item for item in items if isinstance(item, Message)]
        gaps = [item for item in items if isinstance(item, Gap)]
        last = 1500 if step in BEFORE_TAIL else 1501
        assert messages[-1].seq == last  # what was published before the kill is delivered, nothing of what was not
        assert len(messages) + sum(gap.count for gap in gaps) == last
        assert all(intact(message.payload) for message in messages)
        assert isinstance(items[-1], WriterGone)
        assert reader.status().counters["broken_rings"] == 0
        assert reader.status().counters["missed_wakes"] == 0


@pytest.mark.parametrize("step", PUT_STEPS)
async def test_asker_killed_at_each_step(step: str) -> None:
    async with members() as group:
        server = await group.join()
        served: list[int] = []

        def serve(request: Any) -> None:
            served.append(request.payload)
            request.reply(None)

        await server.register("x", serve)
        async with process(group.name) as asker:
            await asker.do("failpoint", step, "kill", 100)
            asker.tell("ask", "x", 1000)
            assert await asker.ended() == -signal.SIGKILL
            await eventually(lambda: len(server.members()) == 1)
        assert served == list(range(100 if step in BEFORE_TAIL else 101))
        other = await group.join()
        assert (await other.ask("x", 1)).payload is None


@pytest.mark.parametrize("policy", ["lossy", "reliable"])
@pytest.mark.parametrize("step", READ_STEPS)
async def test_reader_killed_at_each_step(step: str, policy: str) -> None:
    async with members(ring_bytes=65536, hold_within=30.0) as group:
        writer = await group.join()
        survivor = await group.join()
        seen: list[int] = []
        options = SubscribeOptions(policy=Policy.RELIABLE)
        await survivor.subscribe("t", lambda m: seen.append(m.payload), options)
        async with process(group.name) as reader:
            await reader.do("subscribe", "dead", policy)
            await reader.do("failpoint", step, "kill", 0 if step == "drain_copied" else 5)
            started = time.monotonic()
            await writer.publish("dead", {"data": b"", "crc": 0}).settled(within=1)
            for n in range(3000):
                await writer.publish("t", n)
                if n % 50 == 0:
                    await asyncio.sleep(0.001)

            def killed() -> bool:
                """By then it has slept often enough; where others keep the cores, not before."""
                writer.publish("more", None)
                return reader.process.returncode is not None

            await eventually(killed, 15)
            receipt = await writer.publish("dead", {"data": b"", "crc": 0}).settled(within=0.2)
            assert await reader.ended() == -signal.SIGKILL
            assert receipt.seen == 0
            await eventually(lambda: len(writer.members()) == 2)
            assert time.monotonic() - started < 20  # a dead reader holds nobody up
        await writer.publish("t", -1).settled(within=5)
        assert seen == [*range(3000), -1]
        assert writer.status().counters["missed_wakes"] == 0


async def test_receipt_counts_the_dead() -> None:
    async with members() as group:
        writer = await group.join()
        async with process(group.name) as reader:
            await reader.do("subscribe", "t", "lossy")
            reader.signal(signal.SIGSTOP)
            await reader.stopped()
            receipt = writer.publish("t", {"data": b"", "crc": 0})
            lagging = await receipt.settled(within=0.1)
            assert (lagging.seen, lagging.lagging, lagging.lagging_members) == (0, 1, (reader.id,))
            reader.signal(signal.SIGKILL)
            dead = await receipt.settled(within=5)
            assert (dead.seen, dead.dead, dead.dead_members) == (0, 1, (reader.id,))


async def test_stopped_reliable_reader_is_evicted_by_name_and_told() -> None:
    async with members(ring_bytes=65536, hold_within=0.3) as group:
        writer = await group.join()
        async with process(group.name, label="sleeper") as reader:
            await reader.do("subscribe", "t", "reliable")
            reader.signal(signal.SIGSTOP)
            await reader.stopped()
            started = time.monotonic()
            for n in range(2000):
                await writer.publish("t", {"n": n, "data": b"x" * 100, "crc": 0})
            assert 0.2 < time.monotonic() - started < 10
            assert writer.status().counters["evictions"] == 1
            status = await writer.status_of_readers()
            assert status.slowest is not None
            assert status.slowest.label == "sleeper"
            reader.signal(signal.SIGCONT)
            await eventually(lambda: reader.count("Evicted") and reader.count("Gap"))


@pytest.mark.parametrize("step", STEPS)
async def test_member_stopped_at_each_step_and_continued(step: str) -> None:
    """A pause anywhere loses nothing but what a Gap tells."""
    async with members() as group:
        local = await group.join()
        items: list[Any] = []
        await local.subscribe("from.child", items.append, SubscribeOptions(on_event=items.append))
        async with process(group.name) as child:
            await child.do("subscribe", "to.child", "lossy")
            await child.do("failpoint", step, "stop", 10)
            child.tell("publish", "from.child", 200, 50)
            for n in range(200):
                local.publish("to.child", {"n": n, "data": b"", "crc": 0})
                await asyncio.sleep(0.0005)
            await child.stopped()
            child.signal(signal.SIGCONT)
            await eventually(lambda: child.count("done", "publish"), 20)
            await eventually(lambda: sum(isinstance(item, Message) for item in items) == 200)
            seen, torn, missing, counters = await child.report()
            assert (seen, torn, missing) == (200, 0, 0)
            assert counters["gaps"] == 0


@pytest.mark.parametrize("carrier", ["rings", "zmq"])
async def test_killed_member_ends_calls_at_once(carrier: str) -> None:
    async with members(carrier=carrier) as group:
        asker = await group.join()
        lost: list[Any] = []
        asker.watch(lambda change: lost.append(change) if isinstance(change, MemberLost) else None)
        async with process(group.name, carrier=carrier) as server:
            await server.do("register", "x")
            await asker.wait_for("x")
            assert (await asker.ask("x", 1)).payload == 1
            pending = [asyncio.create_task(asker.ask("x", n, topic="silent")) for n in range(50)]
            stream = asker.stream("x", 1, topic="silent")
            await asyncio.sleep(0.05)
            server.signal(signal.SIGKILL)
            started = time.monotonic()
            results = await asyncio.gather(*pending, return_exceptions=True)
            assert time.monotonic() - started < 1
            assert all(isinstance(result, PeerLost) and result.member == server.id for result in results)
            assert asker.locate("x") is None
            assert lost[0].member.id == server.id
            await stream.aclose()


@pytest.mark.parametrize("point", POINTS)
async def test_registry_host_killed_while_it_joins_or_leaves(point: str) -> None:
    """The first member hosts the registry: killed at any point, the next one joins a bus that works."""
    async with members() as group:
        async with process(group.name, failpoint=f"{point}:kill", joins=False) as host:
            if point.startswith("leave"):
                await eventually(lambda: host.id)
                other = await group.join()
                host.tell("leave")
            assert await host.ended() == -signal.SIGKILL
        a, b = await group.join(), await group.join()
        seen: list[Any] = []
        await a.subscribe("t", seen.append)
        assert (await b.publish("t", 1).settled(within=5)).seen == 1
        if point.startswith("leave"):
            await eventually(lambda: set(other.members()) == {other.id, a.id, b.id})


@pytest.mark.parametrize("action", ["kill", "stop"])
@pytest.mark.parametrize("point", REGISTRY_POINTS)
async def test_registry_killed_or_stopped_while_it_tells(point: str, action: str) -> None:
    """Some have been told, some have not; some are welcome, some are not: all of them end up on one bus that works."""
    async with members() as group:
        # What the host and `first` take at most, and one more: in the first round of the joins below, however few there
        # are.
        time = 2 if point == "registry_telling" else 4  # it needs somebody who was told before
        async with process(group.name, failpoint=f"{point}:{action}:{time}") as host:
            first = await group.join()
            await first.register("first", lambda request: request.reply(request.payload))
            joining = [asyncio.create_task(group.join()) for _ in range(6)]
            if action == "stop":
                await host.stopped()
                await asyncio.sleep(0.2)
                host.signal(signal.SIGCONT)
            else:
                assert await host.ended() == -signal.SIGKILL
            joined = [first, *await asyncio.gather(*joining)]
            seen: list[Any] = []
            for number, bus in enumerate(joined):
                await bus.subscribe("t", seen.append)
                await bus.register(f"n{number}", lambda request: request.reply(request.payload))
            everybody = {bus.id for bus in joined} | ({host.id} if action == "stop" else set())
            for bus in joined:
                await eventually(lambda bus=bus: set(bus.members()) == everybody)  # type: ignore[misc]
                await bus.wait_for([f"n{number}" for number in range(len(joined))])
                assert (await bus.ask("first", 1)).payload == 1
                assert (await bus.publish("t", 1).settled(within=5)).seen == len(joined)
            assert len(seen) == len(joined) ** 2


async def test_registry_host_killed_under_load() -> None:
    async with members() as group:
        async with process(group.name) as host:
            await host.do("subscribe", "t", "reliable")
            a, b = await group.join(), await group.join()
            numbers: list[int] = []
            await b.subscribe("t", lambda m: numbers.append(m.payload["n"]), SubscribeOptions(policy=Policy.RELIABLE))
            await b.register("x", lambda request: request.reply(request.payload))
            await a.wait_for("x")
            for n in range(400):
                await a.publish("t", {"n": n, "data": b"", "crc": 0})
                assert (await a.ask("x", n, within=5)).payload == n
                if n == 200:
                    host.signal(signal.SIGKILL)
            await a.publish("t", {"n": 400, "data": b"", "crc": 0}).settled(within=5)
            assert numbers == list(range(401))
            await eventually(lambda: host.id not in a.members() and host.id not in b.members())
        late = await group.join()
        await late.wait_for("x")
        assert (await late.ask("x", 1)).payload == 1
        assert a.status().counters["missed_wakes"] == b.status().counters["missed_wakes"] == 0


async def test_everybody_killed_leaves_nothing() -> None:
    async with members() as group:
        name = group.name
        async with process(name) as first, process(name) as second:
            await first.do("subscribe", "t", "lossy")
            await second.do("publish", "t", 10, 100)
            first.signal(signal.SIGKILL)
            second.signal(signal.SIGKILL)
            await first.ended()
            await second.ended()
        fresh = await group.join()  # the socket of the dead is taken over
        assert set(fresh.members()) == {fresh.id}
