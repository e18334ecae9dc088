"""Large payloads on every carrier, and their order among small ones."""

from typing import Any

import pytest
from msgspec.msgpack import encode

from tests.support.bus.members import Members, echo, eventually
from transports.bus import (
    Closed,
    Encoded,
    Kind,
    MemberLost,
    Message,
    NoSuchName,
    PeerLost,
    Policy,
    Request,
    SubscribeOptions,
    TooLarge,
)


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
    """On both sides: whoever hears that one caller is gone fails all its requests, or cancels the other calls to a
    member.
    """
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
