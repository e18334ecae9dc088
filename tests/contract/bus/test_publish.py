"""Broadcasts on every carrier: topics, policies, gaps and replay."""

import asyncio
from typing import Any

import pytest

from tests.support.bus.members import Members, echo, eventually, members
from transports.bus import (
    BadAddress,
    Gap,
    Message,
    Policy,
    Settled,
    SubscribeOptions,
    WriterGone,
)


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
