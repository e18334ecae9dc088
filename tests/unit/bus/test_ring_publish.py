"""The short way of a payload into the ring: what goes it, and what is left to the long way."""

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.bus.rings import Bench
from transports.bus.frames import Encoded, encode, encode_into
from transports.bus.receipt import Receipt
from transports.bus.rings.native import Writer

SMALL = 100
TOPICS: dict[Any, tuple[bytes, bytes]] = {"t": (b"t", b"e"), ("t", "scout"): (b"t", b"scout's")}
WAITING: list[Any] = []


@pytest.fixture(params=[False, True], ids=["lossy", "gated"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(gated=request.param)
    bench.writer.publishes(encode_into, Receipt, Encoded, SMALL, TOPICS, WAITING)
    yield bench
    bench.close()


def publish(bench: Bench, payload: Any) -> Any:
    return bench.writer.publish("me", "t", payload, "", None)


def test_what_is_small_is_in_the_ring_and_has_a_receipt(bench: Bench) -> None:
    before = time.monotonic()
    receipts = [publish(bench, payload) for payload in ({"id": 1}, [1, 2], "text", None, Encoded(b"\x07"))]
    assert [(r._publisher, r.topic, r.seq) for r in receipts] == [("me", "t", n) for n in range(1, 6)]
    assert all(before <= receipt.published <= time.monotonic() for receipt in receipts)
    messages = bench.pump.drain(10)
    assert [message.payload for message in messages] == [{"id": 1}, [1, 2], "text", None, 7]
    assert {(message.topic, message.envelope) for message in messages} == {("t", b"e")}


def test_the_envelope_is_the_senders_or_the_one_that_is_given(bench: Bench) -> None:
    bench.writer.publish("me", "t", 1, "scout", None)
    bench.writer.publish("me", "t", 2, "scout", b"traced")
    assert [(m.topic, m.envelope) for m in bench.pump.drain(10)] == [("t", b"scout's"), ("t", b"traced")]


def test_a_topic_that_is_not_known_yet_and_what_would_overtake_go_the_long_way(bench: Bench) -> None:
    assert bench.writer.publish("me", "other", 1, "", None) is None
    assert bench.writer.publish("me", "t", 1, "stranger", None) is None
    WAITING.append("earlier")
    try:
        assert publish(bench, 1) is None
    finally:
        WAITING.clear()
    assert publish(bench, 1).seq == 1


def test_topics_that_go_while_a_payload_is_encoded() -> None:
    bench, topics = Bench(), dict(TOPICS)

    def forgetting(payload: Any, desk: bytearray) -> None:
        topics.clear()
        encode_into(payload, desk)

    bench.writer.publishes(forgetting, Receipt, Encoded, SMALL, topics, WAITING)
    assert publish(bench, 1).seq == 1
    assert publish(bench, 2) is None
    bench.close()


def test_what_is_large_comes_back_encoded(bench: Bench) -> None:
    text = "x" * SMALL
    assert publish(bench, text) == msgspec.msgpack.encode(text)
    assert publish(bench, text + "x") is None  # known before it is encoded
    long = list(range(5000))
    assert publish(bench, long) == msgspec.msgpack.encode(long)
    assert publish(bench, Encoded(b"\xc4\xff" + bytes(255))) == b"\xc4\xff" + bytes(255)
    assert not bench.pump.pending()


@pytest.mark.parametrize(
    "payload", [b"bytes", object(), 2**70, "\ud800", Encoded(bytearray(b"\x07"))], ids=lambda p: type(p).__name__
)  # type: ignore[arg-type]
def test_what_is_unusual_or_wrong_is_left_as_it_is(bench: Bench, payload: Any) -> None:
    assert publish(bench, payload) is None
    assert not bench.pump.pending()


def test_after_a_large_one_a_small_one_is_itself_again(bench: Bench) -> None:
    for payload in (list(range(5000)), [1], list(range(300)), {"a": "b"}, [object()], [2]):
        publish(bench, payload)
    assert [message.payload for message in bench.pump.drain(10)] == [[1], {"a": "b"}, [2]]


def test_a_payload_that_publishes_while_it_is_encoded(bench: Bench) -> None:
    @dataclasses.dataclass
    class Outer:
        inner: Any

    class Loud(Outer):
        def __getattribute__(self, name: str) -> Any:
            if name == "inner":
                said.append(publish(bench, ["within"]))
            return super().__getattribute__(name)

    said: list[Any] = []
    assert publish(bench, Loud(7)).seq == 1
    assert said == [None]  # goes the long way
    assert [message.payload for message in bench.pump.drain(10)] == [{"inner": 7}]


def test_told_otherwise_while_it_encodes() -> None:
    bench = Bench()

    def told(payload: Any, desk: bytearray) -> None:
        bench.writer.publishes(encode_into, Receipt, Encoded, SMALL, TOPICS, WAITING)
        encode_into(payload, desk)

    bench.writer.publishes(told, Receipt, Encoded, SMALL, TOPICS, WAITING)
    assert [publish(bench, n).seq for n in (1, 2)] == [1, 2]
    assert [message.payload for message in bench.pump.drain(10)] == [1, 2]
    bench.close()


def test_what_a_reader_holds_up_comes_back_encoded() -> None:
    bench = Bench(gated=True)
    bench.writer.publishes(encode_into, Receipt, Encoded, SMALL, TOPICS, WAITING)
    placed = 0
    while type(done := publish(bench, placed)) is Receipt:
        placed += 1
    assert done == encode(placed)
    assert [message.payload for message in bench.pump.drain(1000)] == list(range(placed))
    assert publish(bench, "more").seq == placed + 1
    bench.close()


def test_an_interruption_is_passed_on(bench: Bench) -> None:
    def interrupted(payload: Any, desk: bytearray) -> None:
        raise KeyboardInterrupt

    bench.writer.publishes(interrupted, Receipt, Encoded, SMALL, TOPICS, WAITING)
    with pytest.raises(KeyboardInterrupt):
        publish(bench, 1)


def test_wrong_calls_are_refused(bench: Bench) -> None:
    with_too_little: Any = bench.writer.publish
    with pytest.raises(TypeError):
        with_too_little("me")
    with pytest.raises(TypeError):
        bench.writer.publish("me", "t", 1, None, b"e")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        bench.writer.publish("me", "t", 1, "", "e")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="after publishes"):
        Writer(bench.ring).publish("me", "t", 1, "", b"e")
