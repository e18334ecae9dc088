"""The reader of HTTP/2 heads, the wheel of deadlines, and what is left of a stream."""

import asyncio

import hpack
import pytest

from tests.support.agents.until import until
from transports.http2.server.deadlines import NEVER, DeadlineWheel
from transports.http2.server.h2_engine import StrictDecoder
from transports.http2.server.h2_head import read_head
from transports.http2.server.h2_streams import PendingBody as Outgoing
from transports.http2.server.head import BadRequest

REQUEST = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/a%20b?c")]


def test_a_head() -> None:
    head = read_head([*REQUEST, (b"content-length", b"3"), (b"x", b"y")], 1_000, 10)
    assert (head.method, head.path, head.query, head.content_length) == ("POST", "/a b", b"c", 3)
    assert head.headers == [(b"host", b"localhost"), (b"content-length", b"3"), (b"x", b"y")]


def test_a_host_in_place_of_the_authority() -> None:
    head = read_head([REQUEST[0], REQUEST[1], REQUEST[3], (b"host", b"localhost")], 1_000, 10)
    assert head.headers == [(b"host", b"localhost")]


@pytest.mark.parametrize(("bytes_", "fields"), [(60, 10), (1_000, 1)])
def test_limits(bytes_: int, fields: int) -> None:
    with pytest.raises(BadRequest) as refused:
        read_head([*REQUEST, (b"x", b"y"), (b"z", b"z")], bytes_, fields)
    assert refused.value.status == 431


def test_pieces_within_windows() -> None:
    outgoing = Outgoing(b"abcdef", False, lambda: 0.0)
    assert bytes(outgoing.take(4)[0]) == b"abcd"
    outgoing.add(b"gh", True)
    assert outgoing.take(0) == (b"", False)
    assert (bytes(outgoing.take(9)[0]), outgoing.empty) == (b"ef", False)
    assert outgoing.take(9) == (b"gh", True)
    assert outgoing.empty


class Owner:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.watched_at = 0
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now - self.deadline)
        self.deadline = NEVER


async def test_deadlines_that_move_and_are_forgotten() -> None:
    loop = asyncio.get_running_loop()
    wheel, now = DeadlineWheel(loop), loop.time()
    soon, later, earlier, forgotten = Owner(now + 0.1), Owner(now + 0.1), Owner(now + 60), Owner(now + 0.1)
    for owner in (soon, later, earlier, forgotten):
        wheel.watch(owner)
    later.deadline = now + 3.0
    earlier.deadline = now + 0.2
    wheel.watch(earlier)
    wheel.forget(forgotten)
    await until(lambda: bool(soon.expired and earlier.expired))
    assert not later.expired or loop.time() > now + 3.0
    await until(lambda: bool(later.expired))
    assert [len(one.expired) for one in (soon, later, earlier, forgotten)] == [1, 1, 1, 0]
    assert all(late >= 0 for one in (soon, later, earlier) for late in one.expired)
    assert not any(wheel._buckets.values()), "nothing is kept of what is over"
    wheel.close()


def test_what_a_client_can_make_the_decoder_remember_is_bounded() -> None:
    decoder, encoder = StrictDecoder(), hpack.Encoder()
    for number in range(200):
        decoder.decode(
            encoder.encode([hpack.NeverIndexedHeaderTuple(b"x", b"%d" % number * 2_000)], huffman=False), True
        )
    assert not decoder._known
    for number in range(200):
        decoder.decode(encoder.encode([hpack.NeverIndexedHeaderTuple(b"x", b"%d" % number)], huffman=False), True)
    assert 0 < len(decoder._known) <= StrictDecoder.most_blocks
