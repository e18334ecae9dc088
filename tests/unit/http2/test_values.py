"""The pure parts: URLs, heads, proxies, HPACK with a memory, deadlines."""

import asyncio
from contextlib import closing

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.http2 import InvalidRequest, Origin, PoolOptions, ProxyFailed, Request, Timeouts, split_url
from transports.http2.deadlines import NEVER, DeadlineTimer
from transports.http2.header_cache import CachingDecoder, CachingEncoder
from transports.http2.heads import request_head
from transports.http2.proxies import proxy_for


@pytest.mark.parametrize(
    ("url", "origin", "target"),
    [
        ("https://host/v1/x?y=z", ("https", "host", 443), b"/v1/x?y=z"),
        ("HTTP://Host:8080", ("http", "host", 8080), b"/"),
        ("https://host?q", ("https", "host", 443), b"/?q"),
        ("http://[::1]:11434/api", ("http", "::1", 11434), b"/api"),
        ("https://bücher.example/", ("https", "xn--bcher-kva.example", 443), b"/"),
    ],
)
def test_a_url_is_an_origin_and_a_target(url: str, origin: tuple[str, str, int], target: bytes) -> None:
    assert split_url(url) == (Origin(*origin), target)


@pytest.mark.parametrize("url", ["host/x", "https://", "http://h:99999/", "http://h/\u00e9"])
def test_what_is_no_url_says_so(url: str) -> None:
    with pytest.raises(InvalidRequest):
        split_url(url)


def test_authorities() -> None:
    assert Origin("https", "h", 443).authority == b"h"
    assert Origin("https", "h", 80).authority == b"h:80"
    assert Origin("http", "::1", 80).authority == b"[::1]"
    assert str(Origin("http", "::1", 81)) == "http://[::1]:81"


def test_heads_are_in_lower_case_and_without_what_belongs_to_a_connection() -> None:
    headers = [
        (b"Host", b"other"),
        (b"Connection", b"keep-alive"),
        (b"TE", b"trailers"),
        (b"X-Y", b"Z"),
        (b"Content-Length", b"9"),
    ]
    head = request_head(Request.to("POST", "https://h/", headers))
    assert head == (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":authority", b"other"),
        (b":path", b"/"),
        (b"te", b"trailers"),
        (b"x-y", b"Z"),
    )


def test_timeouts_are_keywords_and_a_request_shows_no_secret() -> None:
    with pytest.raises(TypeError):
        Timeouts(1.0)  # type: ignore[misc]
    request = Request.to("POST", "https://h/x?key=secret", [(b"x-api-key", b"secret")], b"secret")
    assert "secret" not in repr(request)
    assert "secret" not in repr(PoolOptions(proxy=None))


# Proxies

HTTPS = Origin("https", "api.example.com", 443)


@pytest.mark.parametrize(
    ("environ", "origin", "expected"),
    [
        ({}, HTTPS, None),
        ({"HTTPS_PROXY": "http://p:3128"}, HTTPS, ("http", "p", 3128)),
        ({"https_proxy": "p:3128"}, HTTPS, ("http", "p", 3128)),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://b:2"}, HTTPS, ("http", "b", 2)),
        ({"HTTP_PROXY": "http://p:3128"}, HTTPS, None),
        ({"HTTP_PROXY": "http://p:3128"}, Origin("http", "x", 80), ("http", "p", 3128)),
        ({"HTTP_PROXY": "http://p:3128", "REQUEST_METHOD": "GET"}, Origin("http", "x", 80), None),
        ({"ALL_PROXY": "https://p"}, HTTPS, ("https", "p", 443)),
        ({"ALL_PROXY": "p", "NO_PROXY": "example.com"}, HTTPS, None),
        ({"ALL_PROXY": "p", "NO_PROXY": ".example.com"}, HTTPS, None),
        ({"ALL_PROXY": "p", "NO_PROXY": "*.example.com , x"}, HTTPS, None),
        ({"ALL_PROXY": "p", "NO_PROXY": "ample.com"}, HTTPS, ("http", "p", 80)),
        ({"ALL_PROXY": "p", "NO_PROXY": "*"}, HTTPS, None),
        ({"ALL_PROXY": "p", "NO_PROXY": "api.example.com:443"}, HTTPS, None),
        ({"ALL_PROXY": "p", "NO_PROXY": "api.example.com:444"}, HTTPS, ("http", "p", 80)),
        ({"ALL_PROXY": "p", "NO_PROXY": "http://api.example.com"}, HTTPS, ("http", "p", 80)),
        ({"ALL_PROXY": "p", "NO_PROXY": "10.0.0.0/8"}, Origin("http", "10.1.2.3", 80), None),
        ({"ALL_PROXY": "p", "NO_PROXY": "::1"}, Origin("http", "::1", 80), None),
        ({"ALL_PROXY": "p", "NO_PROXY": "localhost"}, Origin("http", "localhost", 11434), None),
    ],
)
def test_what_the_environment_says(environ: dict[str, str], origin: Origin, expected: object) -> None:
    proxy = proxy_for(origin, environ)
    assert (None if proxy is None else tuple(proxy)[:3]) == expected


def test_a_proxy_with_a_password_does_not_show_it() -> None:
    proxy = proxy_for(HTTPS, {"ALL_PROXY": "http://me:hun%20ter2@p"})
    assert proxy is not None
    assert proxy.authorization == b"Basic bWU6aHVuIHRlcjI="
    assert "hun" not in repr(proxy)
    assert "bWU6" not in repr(proxy)


def test_proxies_that_are_not_supported_say_what_to_do() -> None:
    with pytest.raises(ProxyFailed, match=r"'socks5' are not supported.*NO_PROXY"):
        proxy_for(HTTPS, {"ALL_PROXY": "socks5://me:secret@p"})  # pragma: allowlist secret


# HPACK with a memory must be HPACK

NAMES = st.sampled_from([b":status", b"content-type", b"content-length", b"date", b"x-a", b"authorization", b"x-b"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"1", b"200", b"text/plain", b"y" * 200])), max_size=8)


@given(st.lists(FIELDS | st.integers(0, 5_000), max_size=30))
def test_what_is_remembered_is_what_hpack_says(steps: list[list[tuple[bytes, bytes]] | int]) -> None:
    """Blocks of our encoder, decoded by hpack; blocks of hpack's, decoded by ours; a number resizes the table."""
    ours_out, theirs_in = CachingEncoder(), hpack.Decoder()
    theirs_out, ours_in = hpack.Encoder(), CachingDecoder()
    for decoder in (theirs_in, ours_in):
        decoder.max_allowed_table_size = 5_000
    for step in steps:
        if isinstance(step, int):
            ours_out.header_table_size = step
            if theirs_out.header_table_size != step:  # told the same size twice, hpack forgets to pass it on
                theirs_out.header_table_size = step
            continue
        expected = sorted(step)
        for _ in range(3):
            assert sorted(theirs_in.decode(ours_out.encode(step), raw=True)) == expected
            assert sorted(ours_in.decode(theirs_out.encode(step), raw=True)) == expected


def test_a_size_that_is_told_twice_is_passed_on() -> None:
    encoder, decoder = CachingEncoder(), hpack.Decoder()
    for sizes in ([0], [39, 39], [200, 100, 300, 300], [4_096]):
        for size in sizes:
            encoder.header_table_size = size
        for _ in range(3):
            assert decoder.decode(encoder.encode([(b":status", b"x"), (b"x-a", b"1")]), raw=True)
        assert decoder.header_table_size == sizes[-1]


def test_keys_and_what_changes_each_time_stay_out_of_the_table() -> None:
    encoder = CachingEncoder()
    for number in range(50):
        block = encoder.encode([(b"authorization", b"Bearer k"), (b"content-length", b"%d" % number), (b"x-a", b"1")])
        assert [bytes(name) for name, _ in encoder.header_table.dynamic_entries] == [b"x-a"]
        never = list(hpack.Decoder().decode(encoder.encode([(b"authorization", b"k")]), raw=True))
        assert never[0].indexable is False
    assert len(block) < 30


def test_equal_blocks_are_worked_out_once() -> None:
    encoder, decoder = CachingEncoder(), CachingDecoder()
    head = [(b":status", b"200"), (b"x-a", b"1")]
    first, second, third = (encoder.encode(head) for _ in range(3))
    assert first != second, "the first fills the table"
    assert second is third
    decoder.decode(first, raw=True)
    assert decoder.decode(second, raw=True) is decoder.decode(third, raw=True)


# Deadlines


class Slot:
    def __init__(self, timer: DeadlineTimer, deadline: float) -> None:
        self.timer, self.deadline, self.expired = timer, deadline, 0
        timer.watched.add(self)
        timer.heed(deadline)

    def expire(self, now: float) -> None:
        assert now >= self.deadline
        self.expired += 1
        self.deadline = NEVER


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop whose clock stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__()

    def time(self) -> float:
        return self.now

    def move_to(self, now: float) -> None:
        """Calls what is due by then."""
        self.now = now
        self.run_until_complete(asyncio.sleep(0))


def test_one_timer_for_all_deadlines() -> None:
    with closing(SteppedLoop()) as loop:
        timer = DeadlineTimer(loop)
        slots = [Slot(timer, deadline) for deadline in (5.0, 1.0, 3.0)]
        moved, never = Slot(timer, 2.0), Slot(timer, NEVER)
        moved.deadline = 6.0  # later than it was announced: the timer finds out when it wakes
        for now in (0.5, 1.0, 2.0, 3.0, 4.0):
            loop.move_to(now)
        assert [slot.expired for slot in slots] == [0, 1, 1]
        assert moved.expired == 0
        for now in (5.0, 6.0, 7.0):
            loop.move_to(now)
        assert [slot.expired for slot in (*slots, moved, never)] == [1, 1, 1, 1, 0]
        timer.close()
