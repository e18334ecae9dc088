"""What goes wrong in the middle of a batch costs nobody a message: what a callback raises, what a lookup raises, what a
collection of garbage runs, what another thread does."""

import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.bus.rings import Bench, attend
from transports.bus.messages import Message
from transports.bus.pubsub.delivery import Delivery
from transports.bus.pubsub.subscriptions import Subscriptions
from transports.bus.rings.native import DATA


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


class Stop(BaseException):
    """None of what a callback may raise."""


def stop(message: Message) -> None:
    raise Stop(message.seq)


# --- callbacks ---
@pytest.mark.parametrize("count", [1, 3, 4, 10, 20])
def test_whatever_a_callback_raises_the_others_are_called(
    bench: Bench, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of its message, and those of what was drained with it; then it is raised."""
    seen: list[int] = []
    delivery = Delivery(Subscriptions(), lambda message: None, lambda where, error: None)
    bench.routes["t"] = (stop, *[lambda message: seen.append(message.seq)] * count)
    calls = attend(bench.pump, fan_out=delivery.fan_out)
    for _ in range(3):
        bench.put(b"\x01")
    monkeypatch.setattr("sys.unraisablehook", lambda told: None)
    with pytest.raises(Stop, match="1"):
        bench.pump.run()
    assert seen == [number for number in (1, 2, 3) for _ in range(count)]
    assert calls["call_soon"] == [(bench.pump.run,)]
    bench.pump.run()
    assert bench.reader_page.entry(3)[2] == 3
    assert len(seen) == 3 * count


def test_the_second_that_is_raised_is_told_too(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    bench.routes["t"] = (stop,)
    attend(bench.pump)
    for _ in range(3):
        bench.put(b"\x01")
    monkeypatch.setattr("sys.unraisablehook", lambda what: told.append((str(what.exc_value), what.object)))
    with pytest.raises(Stop, match="1"):
        bench.pump.run()
    assert told == [("2", stop), ("3", stop)]


def test_whatever_a_callback_raises_the_newest_are_delivered(bench: Bench) -> None:
    flushed: list[int] = []
    bench.routes["t"] = (stop,)
    attend(bench.pump, newest={"key": "value"}, flush=lambda: flushed.append(1))
    bench.put(b"\x01")
    with pytest.raises(Stop):
        bench.pump.run()
    assert flushed == [1]


def test_delivery_in_python_goes_on_too() -> None:
    seen: list[Any] = []
    delivery = Delivery(Subscriptions(), stop, lambda where, error: None)
    delivery.routes["t"] = (stop, seen.append)
    messages = [
        Message(DATA, None, n, delivery.routes["t"] if topic else None, topic, b"", b"\x01")
        for n, topic in enumerate(("t", "", "t"))
    ]
    with pytest.raises(Stop, match="0") as raised:
        delivery.deliver(messages)
    assert [message.seq for message in seen] == [0, 2]
    assert len(raised.value.__notes__) == 2


# --- draining ---
class Unequal:
    """A key that raises when a topic is compared with it."""

    def __init__(self, topic: str) -> None:
        self._hash = hash(topic)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        raise LookupError("not now")


def test_what_was_drained_before_an_error_is_handed_out(bench: Bench) -> None:
    routes: dict[Any, Any] = bench.routes
    key = Unequal("bad")
    routes[key] = None
    for topic in (b"t", b"t", b"bad", b"t"):
        bench.put(b"x", topic)
    assert [message.seq for message in bench.pump.drain(10)] == [1, 2]
    with pytest.raises(LookupError, match="not now"):
        bench.pump.drain(10)
    assert bench.pump.pending()
    routes.clear()
    assert [message.seq for message in bench.pump.drain(10)] == [3, 4]
    assert bench.pump.counters()[:4] == (4, 0, 0, 0)


def test_a_gap_before_an_error_is_told_once(bench: Bench) -> None:
    routes: dict[Any, Any] = bench.routes
    routes[Unequal("bad")] = None
    for _ in range(200):
        bench.put(b"x" * 100, b"bad")
    (gap,) = bench.pump.drain(10)
    assert gap[:3] == (0, "w", 1)
    for _ in range(2):
        with pytest.raises(LookupError):
            bench.pump.drain(10)
    routes.clear()
    assert [message.seq for message in bench.pump.drain(1000)] == list(range(gap[3] + 1, 201))
    assert bench.reader_page.entry(3)[3:6] == (gap[3], 1, [(1, gap[3])])


# --- garbage ---
class Garbage:
    """Runs `work` when it is collected."""

    def __init__(self, work: Any) -> None:
        self.me = self
        self.work = work

    def __del__(self) -> None:
        self.work()


@pytest.fixture
def collecting() -> Iterator[None]:
    """At each allocation that may."""
    before = gc.get_threshold()
    gc.collect()
    gc.set_threshold(1)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("what", ["routes", "detach", "close", "drain", "listen", "attach"])
@pytest.mark.parametrize("lapped", [False, True])
@pytest.mark.usefixtures("collecting")
def test_what_a_collection_runs_may_do_anything(bench: Bench, what: str, lapped: bool) -> None:
    works: dict[str, Any] = {
        "routes": bench.routes.clear,
        "detach": lambda: bench.pump.detach(3, False),
        "close": bench.pump.close,
        "drain": lambda: again.append(bench.pump.drain(10)),
        "listen": lambda: [bench.pump.listen(on) for on in (False, True)],
        "attach": lambda: [bench.pump.writer("other", bench.ring, slot, False) for slot in range(10, 200)],
    }
    again: list[list[Any]] = []
    seen: list[Any] = []
    for n in range(10):
        bench.routes[f"t{n}"] = (object(), n)
    for n in range(200 if lapped else 20):
        bench.put(b"x" * 50, b"t%d" % (n % 10))
    Garbage(works[what])
    for _ in range(40):
        seen += bench.pump.drain(10)
    Garbage(works[what])
    bench.pump.replay(3)
    numbers = [message.seq for message in seen if type(message) is not tuple]
    assert numbers == sorted(set(numbers))
    assert [message.route[1] for message in seen if type(message) is not tuple and message.route]
    if what in ("routes", "drain", "attach"):
        assert numbers[-1] == (200 if lapped else 20)


def test_all_who_look_at_a_payload_while_it_is_decoded_see_one_object() -> None:
    """Also what looks at it because the other one goes."""
    looks: list[Any] = []
    made: list[int] = []

    class Payload:
        def __del__(self) -> None:
            looks.append(message.payload)

    class Decoded(Message):
        @staticmethod
        def decode(body: bytes) -> Any:
            made.append(1)
            if len(made) == 1:
                looks.append(message.payload)
            return Payload()

    message = Decoded(DATA, None, 1, None, "t", b"", b"\x01")
    kept = message.payload
    assert looks == [kept, kept]
    del Payload.__del__


def test_a_callback_may_change_the_list_that_it_is_delivered_from(bench: Bench) -> None:
    seen: list[int] = []

    def change(message: Message) -> None:
        seen.append(message.seq)
        messages.clear()
        messages.append("nothing that can be delivered")

    bench.routes["t"] = (change,)
    attend(bench.pump)
    for _ in range(5):
        bench.put(b"\x01")
    messages: list[Any] = bench.pump.drain(10)
    bench.pump.deliver(messages)
    assert seen == [1, 2, 3, 4, 5]
    with pytest.raises(TypeError, match="messages"):
        bench.pump.deliver(messages)


# --- threads ---
def test_rings_come_and_go_while_another_thread_looks_for_more(bench: Bench) -> None:
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            bench.pump.linger(5_000_000)

    looking = [threading.Thread(target=look) for _ in range(2)]
    for thread in looking:
        thread.start()
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        for slot in range(10, 200):
            bench.pump.writer("other", bench.ring, slot, True)
        for slot in range(10, 200):
            assert bench.pump.detach(slot, False)
    bench.pump.close()
    ended.set()
    for thread in looking:
        thread.join()
