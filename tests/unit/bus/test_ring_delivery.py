"""The pump as the event loop's callback: what it drains reaches whoever wants it, whatever they do."""

import gc
import time
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.bus.rings import Bench, attend
from transports.bus.errors import BadFrame
from transports.bus.messages import Message
from transports.bus.pubsub.delivery import MANY, Delivery
from transports.bus.pubsub.subscriptions import Subscriptions


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_messages_reach_the_callbacks_of_their_route_few_or_many(bench: Bench) -> None:
    seen: list[tuple[str, int]] = []

    def callbacks(count: int) -> tuple[Any, ...]:
        return tuple(lambda message, n=n: seen.append((message.topic, n)) for n in range(count))

    def fan_out(route: tuple[Any, ...], message: Message) -> None:
        for callback in route:
            callback(message)

    bench.routes.update(few=callbacks(2), many=callbacks(20))
    calls = attend(bench.pump, fan_out=fan_out, route=lambda topic: callbacks(1) if topic == "new" else None)
    for topic in (b"few", b"many", b"new", b"unwanted"):
        bench.put(b"\x01", topic)
    bench.pump.run()
    assert seen == [("few", 0), ("few", 1), *(("many", n) for n in range(20)), ("new", 0)]
    assert calls == {}


def test_what_a_callback_raises_is_told_and_the_others_are_called(bench: Bench) -> None:
    seen: list[str] = []

    def bad(message: Message) -> None:
        raise ValueError("bad")

    bench.routes["t"] = (bad, lambda message: seen.append("after"))
    calls = attend(bench.pump)
    bench.put(b"\x01")
    bench.put(b"\x02")
    bench.pump.run()
    assert seen == ["after", "after"]
    told = calls["raised"]
    assert [str(error) for _, error in told] == ["bad", "bad"]
    assert told[0][1].__traceback__ is not None
    assert told[0][0].body == b"\x01"


def test_many_share_one_open_message_and_each_is_told_of_a_payload_that_is_none(bench: Bench) -> None:
    seen: list[Message] = []
    told: list[tuple[str, BaseException]] = []
    delivery = Delivery(Subscriptions(), seen.append, lambda where, error: told.append((where, error)))
    payloads: list[object] = []

    def take(message: Message) -> None:
        payloads.append(message.payload)
        seen.append(message)

    bench.routes["t"] = (take,) * (MANY + 1)
    attend(bench.pump, fan_out=delivery.fan_out)
    bench.put(b"\x92\x01\xa1x")
    bench.pump.run()
    assert payloads == [[1, "x"]] * (MANY + 1)
    assert len(set(map(id, payloads))) == len(set(map(id, seen))) == 1
    message = seen[0]
    assert isinstance(message, Message)
    assert (message.topic, message.seq, message.peer, message.envelope) == ("t", 1, "w", b"e")
    assert message.raw == b"\x92\x01\xa1x"
    seen.clear()
    bench.put(b"\xc1")
    bench.pump.run()
    assert seen == []
    assert [type(error) for _, error in told] == [BadFrame] * (MANY + 1)


def test_what_must_not_be_caught_goes_up_and_the_rest_is_looked_at_again(bench: Bench) -> None:
    def stop(message: Message) -> None:
        raise KeyboardInterrupt

    bench.routes["t"] = (stop,)
    calls = attend(bench.pump)
    bench.put(b"\x01")
    with pytest.raises(KeyboardInterrupt):
        bench.pump.run()
    assert calls["call_soon"] == [(bench.pump.run,)]
    assert bench.pump.due


def test_more_than_a_batch_is_left_for_the_next_turn(bench: Bench) -> None:
    """However full the rings: the loop gets its turn."""
    seen: list[int] = []
    bench.routes["t"] = (lambda message: seen.append(message.seq),)
    calls = attend(bench.pump, batch=32)
    for _ in range(50):
        bench.put(b"\x01")
    bench.pump.run()
    assert len(seen) == 32
    assert len(calls["call_soon"]) == 1
    bench.pump.run()
    assert seen == list(range(1, 51))
    assert not bench.pump.due


def test_unwanted_topics_between_do_not_end_a_batch(bench: Bench) -> None:
    seen: list[int] = []
    bench.routes.update(t=(lambda message: seen.append(message.seq),), boring=None)
    attend(bench.pump, batch=64)
    for n in range(60):
        bench.put(b"\x01", b"boring" if n % 2 else b"t")
    bench.pump.run()
    assert seen == list(range(1, 61, 2))


def test_a_callback_may_close_the_pump_that_called_it(bench: Bench) -> None:
    seen: list[int] = []

    def close(message: Message) -> None:
        seen.append(message.seq)
        bench.pump.close()

    bench.routes["t"] = (close,)
    calls = attend(bench.pump, linger=1_000_000)
    for _ in range(40):
        bench.put(b"\x01")
    bench.pump.run()
    assert seen == list(range(1, 33))  # what was drained with it
    bench.pump.run()
    bench.pump.woken()
    bench.pump.soon()
    assert calls == {}


def test_the_newest_are_handed_over_after_each_batch(bench: Bench) -> None:
    newest: dict[str, Message] = {}
    flushed: list[list[bytes]] = []

    def flush() -> None:
        flushed.append([message.body for message in newest.values()])
        newest.clear()

    def keep(message: Message) -> None:
        newest[message.topic] = message

    bench.routes["t"] = (keep,)
    attend(bench.pump, newest=newest, flush=flush)
    for n in range(5):
        bench.put(bytes([n]))
    bench.pump.run()
    assert flushed == [[b"\x04"]]


def test_gaps_go_to_whoever_knows_what_to_do_with_them(bench: Bench) -> None:
    calls = attend(bench.pump)
    for n in range(1000):
        bench.put(bytes([n % 128]) * 50)
    bench.pump.run()
    (records,) = calls["special"][0]
    assert records[0][0] == 0


def test_a_message_that_is_kept_keeps_its_own_payload(bench: Bench) -> None:
    """Messages that are let go are used again; one that somebody holds never is."""
    kept: list[Message] = []
    bench.routes["t"] = (lambda message: kept.append(message) if message.payload % 3 == 0 else None,)
    attend(bench.pump)
    for n in range(100):
        bench.put(bytes([n]))
        bench.pump.run()
    assert [message.payload for message in kept] == list(range(0, 100, 3))
    assert [message.seq for message in kept] == list(range(1, 101, 3))
    assert len({id(message) for message in kept}) == len(kept)


class Holder:
    def keep(self, message: Message) -> None:
        self.message = message  # whose route leads back to us


def test_a_message_in_a_cycle_is_collected(bench: Bench) -> None:
    def hold() -> "weakref.ref[Holder]":
        holder = Holder()
        bench.routes["t"] = (holder.keep,)
        bench.put(b"\x01")
        bench.pump.run()
        return weakref.ref(holder)

    attend(bench.pump)
    gone = hold()
    bench.routes.clear()
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("host", [(), (None,) * 12, [1]])
def test_a_host_that_is_none_is_refused(bench: Bench, host: Any) -> None:
    with pytest.raises(TypeError):
        bench.pump.attend(host, 1, 0)


def test_only_messages_are_delivered(bench: Bench) -> None:
    attend(bench.pump)
    for wrong in ((1,), [1]):
        with pytest.raises(TypeError):
            bench.pump.deliver(wrong)  # type: ignore[arg-type]


def test_a_spinning_reader_stays_up_for_its_time_and_lies_down_then(bench: Bench) -> None:
    seen: list[int] = []
    bench.routes["t"] = (lambda message: seen.append(message.seq),)
    attend(bench.pump, spin=500_000_000)
    assert bench.pump.park()
    for number in (1, 2):
        bench.put(b"\x01")
        bench.pump.run()
        assert seen == [*range(1, number + 1)]
        assert bench.pump.due  # it is up, so that the next message rings nobody
        assert bench.rung() is (number == 1)
    attend(bench.pump, spin=1)
    while bench.pump.due:
        bench.pump.run()
    bench.put(b"\x01")
    assert bench.rung()


def test_callbacks_of_every_kind_are_called_after_a_long_sleep(bench: Bench) -> None:
    """What they touch is asked for ahead, where they are functions with a closure."""
    seen: list[int] = []

    class Agent:
        def hear(self, message: Message) -> None:
            seen.append(-1)

    def plain(message: Message) -> None:
        message.body.decode()

    with_closures = [lambda message, n=n: seen.append(n) for n in range(600)]
    kinds: list[Any] = [*with_closures, Agent().hear, plain, partial(plain), id, Agent().hear]
    for first in (0, -1, -2, -4):  # the kind of the first one decides what is known of them
        bench.routes["t"] = (kinds[first], *kinds)
        attend(bench.pump, fan_out=lambda route, message: [callback(message) for callback in route])
        assert bench.pump.park()
        time.sleep(0.002)
        bench.put(b"\x01")
        seen.clear()
        bench.pump.rung()
        assert [n for n in seen if n >= 0][-600:] == list(range(600))
        assert seen.count(-1) >= 2
