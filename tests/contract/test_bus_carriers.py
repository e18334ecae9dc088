"""One suite for every carrier of the bus: what any of them does, all of them do."""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.msgpack import encode

from tests.support.bus import Members, bus_name, eventually, members
from transports.bus import (
    BadAddress,
    Bus,
    BusError,
    BusOptions,
    CallCancelled,
    Closed,
    DeadlineExceeded,
    Encoded,
    Gap,
    Kind,
    MemberJoined,
    MemberLost,
    Message,
    NamesChanged,
    NameTaken,
    NoSuchBus,
    NoSuchName,
    NotEncodable,
    Overloaded,
    PeerLost,
    Policy,
    RemoteError,
    Request,
    Settled,
    SubscribeOptions,
    TooLarge,
    WriterGone,
)

CARRIERS = ["rings", "zmq"]


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def group(carrier: str) -> AsyncIterator[Members]:
    async with members(carrier=carrier) as group:
        yield group


def echo(request: Request) -> None:
    if request.kind is Kind.ASK:
        request.reply([request.to, request.sender, request.topic, request.trace, request.payload])


# --- names -----------------------------------------------------------------------------------------------------------
async def test_members_see_each_other(group: Members) -> None:
    a = await group.join("first")
    b = await group.join("second")
    assert a.id != b.id
    assert a.id.startswith("@")
    await eventually(lambda: b.id in a.members())
    assert a.members()[b.id].label == "second"
    assert set(b.members()) == {a.id, b.id}


async def test_names_are_registered_in_bulk_and_seen_by_all(group: Members) -> None:
    a, b = await group.join(), await group.join()
    names = [f"scout/{n}" for n in range(512)]
    await b.register(names, echo)
    await a.wait_for(names)
    assert a.locate("scout/511") == b.id
    late = await group.join()
    assert late.locate("scout/0") == b.id
    await b.unregister(names[:256])
    await eventually(lambda: a.locate("scout/0") is None)
    assert a.locate("scout/300") == b.id


async def test_a_taken_name_is_refused_and_nothing_is_registered(group: Members) -> None:
    a, b = await group.join("owner"), await group.join()
    await a.register("planner", echo)
    with pytest.raises(NameTaken, match="owner"):
        await b.register(["other", "planner"], echo)
    assert (await a.ask("planner", 1)).payload[4] == 1
    await asyncio.sleep(0.05)
    assert a.locate("other") is None


async def test_a_registration_that_is_cancelled_registers_nothing(group: Members) -> None:
    a, b = await group.join(), await group.join()
    registers = asyncio.create_task(b.register(["x", "y"], echo))
    await asyncio.sleep(0)  # the registry has been asked
    registers.cancel()
    with pytest.raises(asyncio.CancelledError):
        await registers
    await b.register("then", echo)
    await a.wait_for("then")
    assert a.locate("x") is a.locate("y") is None
    await a.register("x", echo)
    await b.wait_for("x")
    assert (await b.ask("x", 1)).payload[-1] == 1


@pytest.mark.parametrize("name", ["", "@x", "with space", "a" * 300, "nul\0"])
async def test_bad_names_are_refused(group: Members, name: str) -> None:
    bus = await group.join()
    with pytest.raises(BadAddress):
        await bus.register(name, echo)


async def test_changes_are_told(group: Members) -> None:
    a = await group.join()
    changes: list[Any] = []
    a.watch(changes.append)
    b = await group.join("b")
    await b.register("x", echo)
    await eventually(lambda: any(isinstance(change, NamesChanged) for change in changes))
    identity = b.id
    await b.leave()
    await eventually(lambda: any(isinstance(change, MemberLost) for change in changes))
    kinds = [type(change) for change in changes]
    assert kinds[0] is MemberJoined
    assert changes[-1].member.id == identity
    assert changes[-2] == NamesChanged(identity, removed=("x",))


# --- topics ----------------------------------------------------------------------------------------------------------
async def test_a_published_message_reaches_matching_subscribers_only(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[tuple[str, str, Any]] = []
    for pattern in ("news.eu", "news.*", "news.>", "sport.*"):
        await b.subscribe(pattern, lambda m, p=pattern: seen.append((p, m.topic, m.payload)))  # type: ignore[misc]
    settled = await a.publish("news.eu", {"id": 1}).settled(within=5)
    assert settled == Settled(seen=3)
    assert sorted(seen) == [(p, "news.eu", {"id": 1}) for p in ("news.*", "news.>", "news.eu")]
    seen.clear()
    await a.publish("news.eu.sport", 2).settled(within=5)
    assert seen == [("news.>", "news.eu.sport", 2)]


async def test_publisher_hears_itself_if_it_subscribes(group: Members) -> None:
    a = await group.join()
    seen: list[Any] = []
    await a.subscribe("x", lambda m: seen.append(m.payload))
    assert (await a.publish("x", 1).settled(within=5)).seen == 1
    assert seen == [1]


async def test_messages_of_a_writer_come_in_order_and_once(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[int] = []
    await b.subscribe("n", lambda m: seen.append(m.payload), SubscribeOptions(policy=Policy.RELIABLE))
    for n in range(3000):
        receipt = await a.publish("n", n)
    assert (await receipt.settled(within=10)).seen == 1
    assert seen == list(range(3000))


async def test_one_message_object_for_all_subscribers_of_a_process(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[Message] = []
    await b.subscribe_many([("t", seen.append, SubscribeOptions()) for _ in range(5)])
    assert (await a.publish("t", [1]).settled(within=5)).seen == 5
    assert len(seen) == 5
    assert len({id(message) for message in seen}) == 1


async def test_message_tells_who_and_what(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[Message] = []
    await b.subscribe("t", seen.append)
    await a.publish("t", {"k": b"v"}, trace="abc", sender="scout/1").settled(within=5)
    (message,) = seen
    assert (message.topic, message.member, message.sender, message.trace) == ("t", a.id, "scout/1", "abc")
    await b.publish("again", message.encoded).settled(within=1)


async def test_a_subscriber_that_raises_is_reported_and_harms_no_other(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[Any] = []

    def broken(message: Message) -> None:
        raise RuntimeError("broken on purpose")

    await b.subscribe("t", broken)
    await b.subscribe("t", seen.append)
    await a.publish("t", 1).settled(within=5)
    assert len(seen) == 1
    assert [str(error) for _, error in group.errors] == ["broken on purpose"]


async def test_an_error_in_on_error_harms_nobody(carrier: str) -> None:
    def broken(where: str, error: BaseException) -> None:
        raise RuntimeError("the program's own log is full")

    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with members(carrier=carrier) as group:
        bus = await group.join(on_error=broken)
        seen: list[Any] = []
        await bus.subscribe("x", lambda message: 1 / 0)
        await bus.subscribe("x", lambda message: seen.append(message.payload))
        for n in range(1500):
            bus.publish("x", n)
        await eventually(lambda: seen == list(range(1500)))
    assert len(told) == 1500
    assert "own log is full" in told[0]["message"]
    assert "subscriber of 'x'" in told[0]["message"]
    assert isinstance(told[0]["exception"], ZeroDivisionError)


async def test_closed_subscriptions_hear_nothing(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[Any] = []
    first = await b.subscribe("t", seen.append)
    await b.subscribe("t", lambda m: None)
    await first.close()
    assert (await a.publish("t", 1).settled(within=5)).seen == 1
    assert not seen


async def test_subscribing_while_the_last_subscription_ends(group: Members) -> None:
    """Whoever ends it must not make the member deaf to what another is about to subscribe to."""
    a, b = await group.join(), await group.join()
    last = await a.subscribe("old", lambda message: None)
    seen: list[Any] = []
    begins = asyncio.create_task(a.subscribe("new", lambda message: seen.append(message.payload)))
    await asyncio.sleep(0)  # it asks the registry
    await last.close()
    await begins
    b.publish("new", 1)
    await eventually(lambda: seen == [1])


@pytest.mark.parametrize("policy", [Policy.LOSSY, Policy.RELIABLE])
async def test_a_subscription_that_is_cancelled_counts_nowhere(group: Members, policy: Policy) -> None:
    """Whoever publishes neither waits for it nor hears that it has seen anything."""
    a, b = await group.join(), await group.join()
    begins = asyncio.create_task(b.subscribe("x", lambda message: None, SubscribeOptions(policy=policy)))
    while not b.status().subscriptions:  # noqa: ASYNC110 - the registry is asked in that moment
        await asyncio.sleep(0)
    begins.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begins
    await b.register("then", echo)
    await a.wait_for("then")
    assert await a.publish("x", 1).settled(within=1) == Settled()
    for n in range(3000):
        await a.publish("x", "x" * 1000)
        if n % 100 == 0:
            await asyncio.sleep(0)
    assert a.status().counters["held_up"] == a.status().counters["evictions"] == 0


async def test_late_joiner_may_ask_for_earlier_messages(group: Members) -> None:
    a = await group.join()
    for n in range(20):
        await a.publish("t" if n % 2 else "other", n)
    b = await group.join()
    seen: list[Any] = []
    await b.subscribe("t", lambda m: seen.append(m.payload), SubscribeOptions(replay=3))
    await a.publish("t", 21).settled(within=5)
    assert seen == [15, 17, 19, 21]
    fresh: list[Any] = []
    await b.subscribe("t", lambda m: fresh.append(m.payload))
    await a.publish("t", 23).settled(within=5)
    assert fresh == [23]


async def test_what_was_published_before_is_not_heard_however_much_it_was(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[Any] = []
    for n in range(4000):
        a.publish("x", n)
    await b.subscribe("x", lambda message: seen.append(message.payload))
    await a.publish("x", "new").settled(within=1)
    assert seen == ["new"]


async def test_all_that_is_still_held_is_replayed(group: Members) -> None:
    """More than the queues between two members hold."""
    a, b = await group.join(), await group.join()
    for n in range(5000):
        a.publish("x", n)
    seen: list[Any] = []
    await b.subscribe("x", lambda message: seen.append(message.payload), SubscribeOptions(replay=5000))
    assert seen == list(range(5000))


async def test_latest_is_conflated_per_topic(group: Members) -> None:
    a, b = await group.join(), await group.join()
    seen: list[tuple[str, int]] = []
    await b.subscribe("p.*", lambda m: seen.append((m.topic, m.payload)), SubscribeOptions(policy=Policy.LATEST))
    for n in range(100):
        receipt = a.publish(f"p.{n % 2}", n)
    await receipt.settled(within=5)
    assert ("p.0", 98) in seen
    assert ("p.1", 99) in seen
    assert len(seen) < 100


async def test_lossy_reader_that_is_lapped_is_told_the_gap(group: Members) -> None:
    a = await group.join(ring_bytes=65536)
    b = await group.join()
    items: list[Any] = []
    await b.subscribe("t", items.append, SubscribeOptions(on_event=items.append))
    await a.publish("t", b"").settled(within=5)
    receipts = [a.publish("t", b"x" * 100) for _ in range(20_000)]  # without giving the loop a turn
    last = receipts[-1]
    settled = await last.settled(within=5)
    assert settled.seen == 1
    await eventually(lambda: any(isinstance(item, Message) and item.seq == last.seq for item in items))
    accounted = sum(item.count if isinstance(item, Gap) else 1 for item in items)
    assert accounted == last.seq
    gap = next(item for item in items if isinstance(item, Gap))
    missed = next(receipt for receipt in receipts if receipt.seq == gap.first)
    assert (await missed.settled(within=1)).lost == 1


async def test_reliable_reader_misses_nothing_and_the_writer_waits(group: Members) -> None:
    a = await group.join(ring_bytes=65536)
    b = await group.join()
    seen: list[int] = []
    events: list[Any] = []
    options = SubscribeOptions(policy=Policy.RELIABLE, on_event=events.append)
    await b.subscribe("t", lambda m: seen.append(m.payload[0]), options)
    receipts = [a.publish("t", [n, b"x" * 200]) for n in range(2000)]
    assert any(receipt.seq == 0 for receipt in receipts)
    await receipts[-1]
    assert (await receipts[-1].settled(within=10)).seen == 1
    assert seen == list(range(2000))
    assert not events


async def test_writer_gone_is_told_after_its_last_message(group: Members) -> None:
    a, b = await group.join("writer"), await group.join()
    items: list[Any] = []
    await b.subscribe("t", items.append, SubscribeOptions(on_event=items.append))
    for n in range(10):
        await a.publish("t", n)
    identity = a.id
    await a.leave()
    await eventually(lambda: any(isinstance(item, WriterGone) for item in items))
    assert [item.payload for item in items[:-1]] == list(range(10))
    assert items[-1] == WriterGone(identity, "writer")


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


@pytest.mark.parametrize("hosts", [True, False])
async def test_who_is_cancelled_while_it_leaves_has_left(group: Members, carrier: str, hosts: bool) -> None:
    """Its names go with it, and another may host the bus."""
    members = [await group.join(), await group.join()]
    leaving, staying = members if hosts else reversed(members)
    await leaving.register("x", echo)
    await staying.subscribe("t", lambda message: None)
    await eventually(lambda: leaving.id in staying.members())
    leaving.publish("t", 1)
    leave = asyncio.create_task(leaving.leave())
    await asyncio.sleep(0)
    leave.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leave
    await leaving.leave()
    await eventually(lambda: leaving.id not in staying.members())
    assert (await group.join()).locate("x") is None


def test_a_loop_that_ends_while_a_member_leaves_keeps_no_bus(carrier: str) -> None:
    name, options = bus_name(), BusOptions(carrier=carrier)  # type: ignore[arg-type]

    async def cancelled() -> None:
        bus = await Bus.join(name, options)
        leave = asyncio.create_task(bus.leave())
        await asyncio.sleep(0)
        leave.cancel()

    async def again() -> None:
        await (await Bus.join(name, options)).leave()

    asyncio.run(cancelled())
    asyncio.run(again())


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


async def test_subscribing_beside_a_callback_that_publishes_what_it_hears(group: Members) -> None:
    """There is always one more message: whoever subscribes waits for those that are there, not for the last of them."""
    bus = await group.join()
    ended = False
    heard = 0

    def again(message: Message) -> None:
        nonlocal heard
        heard += 1
        if not ended and heard < 500_000:
            bus.publish("round", heard)

    await bus.subscribe("round", again)
    bus.publish("round", 0)
    await eventually(lambda: heard)
    await bus.subscribe("other", lambda message: None)
    assert heard < 500_000
    ended = True


@pytest.mark.parametrize("topic", ["", "a..b", "a.*", "a.>", "a b", "x" * 300])
async def test_bad_topics_are_refused(group: Members, topic: str) -> None:
    bus = await group.join()
    with pytest.raises(BadAddress):
        bus.publish(topic, 1)


# --- messages --------------------------------------------------------------------------------------------------------
async def test_ask_and_answer(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await b.register("agent/1", echo)
    await a.wait_for("agent/1")
    reply = await a.ask("agent/1", {"x": [1, 2.5, None, "ü", b"b"]}, topic="score", trace="t1", sender="me/1")
    assert reply.payload == ["agent/1", "me/1", "score", "t1", {"x": [1, 2.5, None, "ü", b"b"]}]
    assert reply.sender == "agent/1"
    assert reply.member == b.id


async def test_ask_within_the_process_shares_no_state(group: Members) -> None:
    bus = await group.join()
    kept: list[Any] = []

    def serve(request: Request) -> None:
        kept.append(request.payload)
        request.reply(request.payload)

    await bus.register("me", serve)
    question = {"list": [1]}
    reply = await bus.ask("me", question)
    assert reply.payload == question
    assert kept[0] is not question
    assert reply.payload is not kept[0]


async def test_send_needs_no_answer(group: Members) -> None:
    a, b = await group.join(), await group.join()
    got: list[Any] = []
    await b.register("sink", lambda request: got.append((request.kind, request.payload, request.deadline)))
    await a.wait_for("sink")
    for n in range(100):
        a.send("sink", n)
    await a.send("sink", 100)
    await eventually(lambda: len(got) == 101)
    assert got == [(Kind.SEND, n, math.inf) for n in range(101)]


async def test_each_message_keeps_who_sent_it_its_topic_and_its_trace(group: Members) -> None:
    """Envelopes that are the same are made and read once: those that are not, never."""
    a, b = await group.join(), await group.join()
    got: list[Any] = []
    for name in ("one", "two"):
        await b.register(name, lambda request: got.append((request.to, request.sender, request.topic, request.trace)))
    await a.wait_for(["one", "two"])
    wanted = [
        (to, sender, topic, trace)
        for trace in ("", "t1", "t2", "")
        for topic in ("", "x", "y")
        for sender in ("scout", "", "judge")
        for to in ("one", "two")
        for _ in range(2)
    ]
    for to, sender, topic, trace in wanted:
        await a.send(to, None, topic, trace, sender)
    await eventually(lambda: len(got) == len(wanted))
    assert got == [(to, sender or a.id, topic, trace) for to, sender, topic, trace in wanted]


async def test_a_message_after_those_that_wait_for_room_comes_after_them(group: Members) -> None:
    a, b = await group.join(), await group.join()
    got: list[int] = []
    await b.register("sink", lambda request: got.append(request.payload[0]))
    await a.wait_for("sink")
    sent = [a.send("sink", [n, "x" * 1000]) for n in range(2000)]  # more than a pair's ring holds
    for one in sent:
        await one
    await a.send("sink", [2000, ""])
    await eventually(lambda: len(got) == 2001)
    assert got == list(range(2001))


async def test_member_itself_is_an_address(group: Members) -> None:
    a, b = await group.join(), await group.join()
    b.serve(echo)
    await eventually(lambda: b.id in a.members())
    assert (await a.ask(b.id, 1)).payload[4] == 1
    with pytest.raises(NoSuchName):
        await b.ask(a.id, 1, within=5)


async def test_addresses_that_are_not_there(group: Members) -> None:
    bus = await group.join()
    with pytest.raises(NoSuchName, match="nobody"):
        await bus.ask("nobody", 1)
    with pytest.raises(PeerLost):
        bus.send("@00000000", 1)


async def test_errors_of_the_other_side(group: Members) -> None:
    a, b = await group.join(), await group.join()

    def serve(request: Request) -> None:
        if request.topic == "raise":
            raise ValueError("a bad day")
        if request.topic == "unencodable":
            request.reply(object())
        request.fail("too_bad", "because", {"why": 1})

    await b.register("x", serve)
    await a.wait_for("x")
    with pytest.raises(RemoteError, match="a bad day") as caught:
        await a.ask("x", 1, topic="raise")
    assert caught.value.remote_code == "handler_error"
    with pytest.raises(RemoteError, match="cannot be sent"):
        await a.ask("x", 1, topic="unencodable")
    with pytest.raises(RemoteError) as caught:
        await a.ask("x", 1)
    assert (caught.value.remote_code, caught.value.text, caught.value.detail) == (
        "too_bad",
        "because",
        {"why": 1},
    )


@pytest.mark.parametrize("here", [True, False])
async def test_a_handler_that_raises_a_cancellation_is_answered_for(group: Members, here: bool) -> None:
    """As the result of a future that was cancelled does; it ends nothing but that request."""
    server = await group.join()
    caller = server if here else await group.join()

    def handler(request: Request) -> None:
        if request.payload == 0:
            raise asyncio.CancelledError
        request.reply(request.payload)

    await server.register("x", handler)
    await caller.wait_for("x")
    answers = await asyncio.gather(*(caller.ask("x", n, within=5) for n in range(3)), return_exceptions=True)
    assert isinstance(answers[0], RemoteError)
    assert [answer.payload for answer in answers[1:] if isinstance(answer, Message)] == [1, 2]
    ended: list[Any] = []

    def raises(result: Any) -> None:
        ended.append(result)
        raise asyncio.CancelledError

    await server.register("silent", lambda request: None)
    await caller.wait_for("silent")
    for _ in range(3):
        caller.call("silent", 1, raises, within=0.05)
    await eventually(lambda: len(ended) == 3)


async def test_answers_that_find_no_room_do_not_stop_a_member_from_hearing_itself(carrier: str) -> None:
    async with members(carrier=carrier, outbox_bytes=100_000) as group:
        bus = await group.join()

        def handler(request: Request) -> None:
            if request.payload == "fill":
                for size in (20_000, 0):  # until its own queue is full, to the last byte
                    with contextlib.suppress(Overloaded):
                        while True:
                            bus.send("x", "\0" * size)
                raise ValueError

        await bus.register("x", handler)
        with pytest.raises(DeadlineExceeded):
            await bus.ask("x", "fill", within=0.2)
        assert any(isinstance(error, Overloaded) for _, error in group.errors)
        await bus.register("y", echo)
        assert (await bus.ask("y", 1)).payload[-1] == 1


async def test_what_cannot_be_sent_is_an_error_at_the_caller(group: Members) -> None:
    bus = await group.join(payload_limit=1000)
    await bus.register("x", echo)
    for bad in (object(), {"a": 1 << 70}, {1: {2: lambda: 0}}):
        with pytest.raises(NotEncodable):
            await bus.ask("x", bad)
        with pytest.raises(NotEncodable):
            bus.publish("t", bad)
    with pytest.raises(TooLarge):
        bus.publish("t", b"x" * 2000)


@pytest.mark.parametrize("text", ["x" * 1025, "x" * 300_000, "\ud800"])
@pytest.mark.parametrize("what", ["sender", "topic", "trace"])
async def test_words_that_cannot_travel_are_an_error_at_the_caller(group: Members, what: str, text: str) -> None:
    a, b = await group.join(), await group.join()
    await b.register("x", echo)
    await a.wait_for("x")
    words: dict[str, Any] = {what: text}
    with pytest.raises(BadAddress):
        await a.ask("x", 1, **words)
    with pytest.raises(BadAddress):
        a.call("x", 1, print, **words)
    with pytest.raises(BadAddress):
        a.send("x", 1, **words)
    if what != "topic":
        with pytest.raises(BadAddress):
            a.publish("x", 1, **words)
    assert (await a.ask("x", 1, within=5)).payload[-1] == 1
    assert a.status().pending_calls == 0


@pytest.mark.parametrize("within", [math.inf, math.nan, 1e300])
async def test_a_call_without_a_deadline_is_refused(group: Members, within: float) -> None:
    bus = await group.join()
    served: list[Request] = []
    await bus.register("x", served.append)
    with pytest.raises(ValueError, match="every call has a deadline"):
        await bus.ask("x", 1, within=within)
    with pytest.raises(ValueError, match="every call has a deadline"):
        await anext(bus.stream("x", 1, within=within))
    await asyncio.sleep(0)
    assert bus.status().pending_calls == 0
    assert served == []


async def test_deadline_ends_both_sides(group: Members) -> None:
    a, b = await group.join(), await group.join()
    reasons: list[str] = []
    remaining: list[float] = []

    def never(request: Request) -> None:
        remaining.append(request.remaining())
        request.on_cancel(reasons.append)

    await b.register("slow", never)
    await a.wait_for("slow")
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        await a.ask("slow", 1, within=0.2)
    assert 0.15 < time.monotonic() - started < 2
    await eventually(lambda: reasons)
    assert 0 < remaining[0] <= 0.2


async def test_cancelling_an_ask_tells_the_other_side(group: Members) -> None:
    a, b = await group.join(), await group.join()
    requests: list[Request] = []
    reasons: list[str] = []

    def never(request: Request) -> None:
        requests.append(request)
        request.on_cancel(reasons.append)

    await b.register("slow", never)
    await a.wait_for("slow")
    task = asyncio.create_task(a.ask("slow", 1))
    await eventually(lambda: requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: reasons)
    assert "cancelled" in reasons[0]
    requests[0].reply(1)  # too late, and said so by a counter
    assert b.status().counters["late_answers"] == 1
    assert a.status().pending_calls == 0


async def test_a_call_without_a_future(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await b.register([f"n/{n}" for n in range(300)], echo)
    await a.wait_for("n/299")
    results: list[Message | BusError] = []
    for n in range(300):
        a.call(f"n/{n}", n, results.append)
    await eventually(lambda: len(results) == 300)
    assert sorted(result.payload[4] for result in results if isinstance(result, Message)) == list(range(300))


async def test_answering_twice_is_an_error_here(group: Members) -> None:
    bus = await group.join()

    def twice(request: Request) -> None:
        request.reply(1)
        request.reply(2)

    await bus.register("x", twice)
    assert (await bus.ask("x", 0)).payload == 1
    assert "answered already" in str(group.errors[0][1])


async def test_too_many_calls_in_flight(group: Members) -> None:
    bus = await group.join(pending_calls=2)
    await bus.register("x", lambda request: None)
    calls = [bus.call("x", 1, lambda result: None) for _ in range(2)]
    with pytest.raises(Overloaded):
        bus.call("x", 1, lambda result: None)
    assert calls[0].cancel()
    assert not calls[0].cancel()
    bus.call("x", 1, lambda result: None)


async def test_queue_to_a_slow_member_is_bounded(group: Members) -> None:
    a = await group.join(outbox_bytes=100_000, pair_bytes=65536)
    b = await group.join()
    got: list[int] = []
    await b.register("x", lambda request: got.append(request.payload[0]))
    await a.wait_for("x")
    accepted = 0
    with pytest.raises(Overloaded, match="outbox_bytes"):  # noqa: PT012
        for n in range(100_000):
            a.send("x", [n, b"x" * 500])
            accepted += 1
    await eventually(lambda: len(got) == accepted)
    assert got == list(range(accepted))


# --- streams ---------------------------------------------------------------------------------------------------------
async def test_stream_of_replies_with_credit(group: Members) -> None:
    a, b = await group.join(), await group.join()
    produced: list[int] = []

    async def produce(request: Request) -> None:
        out = request.open_stream()
        for n in range(100):
            await out.send(n)
            produced.append(n)
        out.end()

    tasks: list[asyncio.Task[None]] = []
    await b.register("x", lambda request: tasks.append(asyncio.create_task(produce(request))))
    await a.wait_for("x")
    async with a.stream("x", None, credit=4) as parts:
        first = await anext(parts)
        await asyncio.sleep(0.1)
        assert len(produced) <= 8
        assert [first.payload, *[part.payload async for part in parts]] == list(range(100))
    await asyncio.gather(*tasks)


async def test_leaving_a_stream_cancels_the_far_side(group: Members) -> None:
    a, b = await group.join(), await group.join()
    ended: list[BaseException] = []

    async def produce(request: Request) -> None:
        out = request.open_stream()
        try:
            while True:
                await out.send(1)
        except CallCancelled as error:
            ended.append(error)

    tasks: list[asyncio.Task[None]] = []
    await b.register("x", lambda request: tasks.append(asyncio.create_task(produce(request))))
    await a.wait_for("x")
    async with a.stream("x", None) as parts:
        async for _ in parts:
            break
    await eventually(lambda: ended)
    await asyncio.gather(*tasks)


async def test_closing_a_stream_ends_whoever_waits_for_its_parts(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await b.register("silent", Request.open_stream)
    await a.wait_for("silent")
    parts = a.stream("silent", 1)

    async def read() -> list[Any]:
        return [part.payload async for part in parts]

    readers = [asyncio.create_task(read()) for _ in range(2)]
    await eventually(lambda: b.status().open_requests)
    await parts.aclose()
    async with asyncio.timeout(5):
        assert await asyncio.gather(*readers) == [[], []]


async def test_a_stream_that_could_not_begin_says_so_each_time(group: Members) -> None:
    bus = await group.join()
    parts = bus.stream("nobody", 1)
    async with asyncio.timeout(5):
        for _ in range(2):
            with pytest.raises(NoSuchName):
                await anext(parts)
        await parts.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(parts)


async def test_stream_that_fails_midway(group: Members) -> None:
    a, b = await group.join(), await group.join()

    def serve(request: Request) -> None:
        out = request.open_stream()
        assert out.try_send(1)
        out.fail("broke", "midway")

    await b.register("x", serve)
    await a.wait_for("x")
    got: list[Any] = []
    with pytest.raises(RemoteError, match="midway"):  # noqa: PT012
        async for part in a.stream("x", None):
            got.append(part.payload)  # noqa: PERF401 - what came before the error counts
    assert got == [1]


# --- large payloads --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [40_000, 1 << 20, 5_000_001])
async def test_large_payloads_everywhere(group: Members, size: int) -> None:
    a, b = await group.join(), await group.join()
    await b.register("x", echo)
    await a.wait_for("x")
    seen: list[Message] = []
    await b.subscribe("t", seen.append)
    for payload in (bytes(range(256)) * (size // 256 + 1), {"text": "é" * (size // 2)}):
        assert (await a.ask("x", payload, within=20)).payload[4] == payload
        assert (await a.publish("t", payload).settled(within=20)).seen == 1
        assert seen[-1].payload == payload
        assert Encoded(seen[-1].raw) == seen[-1].encoded


async def test_what_is_encoded_overtakes_nothing_that_waits(group: Members) -> None:
    """Small encoded questions go straight into the ring: not while others wait for room there."""
    a, b = await group.join(pair_bytes=65536), await group.join()
    seen: list[int] = []

    def hear(request: Request) -> None:
        seen.append(request.payload[0])
        if request.kind is Kind.ASK:
            request.reply(Encoded(b"\xc3"))

    await b.register("x", hear)
    await a.wait_for("x")
    asked = []
    for n in range(0, 1200, 3):  # three times what the ring holds, in one turn of the loop
        a.send("x", [n, "y" * 200])
        asked.append(a.asked("x", Encoded(encode([n + 1, "y" * 200]))))
        a.send("x", Encoded(encode([n + 2, "y" * 20_000 if n % 100 == 0 else ""])))
    for one in asked:
        answer = await one.future
        assert isinstance(answer, Message)
        assert answer.payload is True
    await eventually(lambda: len(seen) == 1200)
    assert seen == list(range(1200))


async def test_an_answer_that_is_too_large_can_still_be_failed(group: Members) -> None:
    a, b = await group.join(), await group.join(payload_limit=1000)

    def too_much(request: Request) -> None:
        with pytest.raises(TooLarge):
            request.reply(b"x" * 2000)
        request.fail("too_large", "more than may travel")

    await b.register("x", too_much)
    await a.wait_for("x")
    with pytest.raises(TooLarge, match="more than may travel"):
        await a.ask("x", 1)


async def test_the_end_of_one_call_may_end_the_others(group: Members) -> None:
    """On both sides: whoever hears that one caller is gone fails all its requests, or cancels the other calls to a member."""
    a, b = await group.join(), await group.join()
    requests: list[Request] = []
    lost: list[Any] = []

    def handler(request: Request) -> None:
        requests.append(request)
        request.on_cancel(lambda reason: [one.fail("enough", reason) for one in requests if not one.done][:0])

    for bus in (a, b):
        await bus.register(f"silent/{bus.id}", handler)
    for bus, other in ((a, b), (b, a)):
        await bus.wait_for(f"silent/{other.id}")
    a.watch(lambda change: lost.append(change) if isinstance(change, MemberLost) else None)
    told: list[Any] = []

    def done(result: Any) -> None:
        told.append(result)
        for call in calls:
            call.cancel()

    calls = [a.call(f"silent/{b.id}", n, done) for n in range(3)]
    more = [b.call(f"silent/{a.id}", n, lambda result: None) for n in range(3)]
    await eventually(lambda: len(requests) == len(calls) + len(more))
    await b.leave()
    await eventually(lambda: lost)
    assert b.id not in a.members()
    assert a.status().open_requests == a.status().pending_calls == 0
    assert len(told) == 1


async def test_who_is_gone_while_an_encoded_question_is_asked_is_peer_lost(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await b.register("x", echo)
    await a.wait_for("x")
    await a.ask("x", 1)
    asked = a.asked("x", Encoded(b"\xc3"))
    await b.leave()
    assert isinstance(await asked.future, Message | PeerLost)
    await eventually(lambda: a.locate("x") is None)
    with pytest.raises(NoSuchName):
        a.asked("x", Encoded(b"\xc3"))
    await a.leave()
    with pytest.raises(Closed):
        a.asked("x", Encoded(b"\xc3"))


async def test_large_and_small_keep_their_order(group: Members) -> None:
    a, b = await group.join(), await group.join()
    got: list[Any] = []
    await b.register("x", lambda request: got.append(request.payload[0]))
    await a.wait_for("x")
    for n in range(60):
        a.send("x", [n, b"x" * (100_000 if n % 3 == 0 else 10)])
    await eventually(lambda: len(got) == 60)
    assert got == list(range(60))


async def test_large_messages_that_a_reliable_reader_does_not_want_hold_nobody_up(group: Members) -> None:
    a, b = await group.join(), await group.join()
    got: list[Any] = []
    events: list[Any] = []
    options = SubscribeOptions(policy=Policy.RELIABLE, on_event=events.append)
    await b.subscribe("wanted", lambda m: got.append(m.payload), options)
    for n in range(100):
        await a.publish("unwanted", bytes(1 << 20))
        await a.publish("wanted", [n, "x" * 100_000] if n % 10 == 0 else n)
    await eventually(lambda: len(got) == 100)
    assert [n if type(n) is int else n[0] for n in got] == list(range(100))
    assert events == []


# --- comings and goings ----------------------------------------------------------------------------------------------
async def test_leaving_ends_calls_on_both_sides(group: Members) -> None:
    a, b = await group.join(), await group.join()
    reasons: list[str] = []
    await b.register("slow", lambda request: request.on_cancel(reasons.append))
    await a.register("slow2", lambda request: None)
    listener, subscription = b.listen("t"), await b.subscribe("t", print)
    await a.wait_for("slow")
    await b.wait_for("slow2")
    to_b = asyncio.create_task(a.ask("slow", 1))
    to_a = asyncio.create_task(b.ask("slow2", 1))
    await asyncio.sleep(0.05)
    await b.leave()
    with pytest.raises(PeerLost, match="left"):
        await to_b
    with pytest.raises(Closed):
        await to_a
    assert reasons
    with pytest.raises(Closed):
        await b.ask("slow2", 1)
    with pytest.raises(Closed):
        b.publish("t", 1)
    with pytest.raises(Closed):
        await listener.__aenter__()
    with pytest.raises(Closed):
        await b.subscribe("t", print)
    await subscription.close()
    await b.leave()


async def test_joining_a_bus_that_nobody_hosts(carrier: str) -> None:
    async with members(carrier=carrier) as nobody:
        with pytest.raises(NoSuchBus):
            await nobody.join(create=False)


async def test_status_names_the_carrier_and_the_slowest_reader(group: Members, carrier: str) -> None:
    a, b = await group.join(), await group.join("reader")
    await b.subscribe("t", lambda m: None)
    await a.publish("t", 1).settled(within=5)
    status = await a.status_of_readers()
    assert status.carrier == carrier
    assert status.counters["published"] == 1
    assert [reader.label for reader in status.readers] == ["reader"]
    assert status.slowest is None


async def test_bus_survives_the_member_that_hosted_it(group: Members) -> None:
    host, a, b = await group.join("host"), await group.join(), await group.join()
    await b.register("x", echo)
    await a.wait_for("x")
    assert (await a.ask("x", 1)).payload[4] == 1
    seen: list[Any] = []
    await b.subscribe("t", seen.append)
    await host.leave()
    assert (await a.ask("x", 2)).payload[4] == 2
    late = await group.join("late")
    await late.wait_for("x")
    assert (await late.ask("x", 3)).payload[4] == 3
    assert (await late.publish("t", 1).settled(within=5)).seen == 1
    await late.register("y", echo)
    await b.wait_for("y")
    assert (await b.ask("y", 4)).payload[4] == 4


async def _ask_many(bus: Bus, name: str, count: int) -> int:
    replies = await asyncio.gather(*(bus.ask(name, n) for n in range(count)))
    return sum(reply.payload[4] == n for n, reply in enumerate(replies))


async def test_many_at_once_in_both_directions(group: Members) -> None:
    a, b = await group.join(), await group.join()
    await a.register("a", echo)
    await b.register("b", echo)
    await a.wait_for("b")
    await b.wait_for("a")
    assert await asyncio.gather(_ask_many(a, "b", 2000), _ask_many(b, "a", 2000)) == [2000, 2000]
