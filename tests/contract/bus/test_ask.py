"""Questions and plain messages on every carrier: answers, errors, deadlines and cancellation."""

import asyncio
import contextlib
import math
import time
from typing import Any

import pytest

from tests.support.bus.members import Members, echo, eventually, members
from transports.bus import (
    BadAddress,
    BusError,
    DeadlineExceeded,
    Kind,
    Message,
    NoSuchName,
    NotEncodable,
    Overloaded,
    PeerLost,
    RemoteError,
    Request,
    TooLarge,
)


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
