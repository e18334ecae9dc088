"""Heads that were read before are read as if they were new."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.http2.server.h1_head import read_head
from transports.http2.server.h1_response import response_head, whole_head
from transports.http2.server.head import BadRequest, RequestHead
from transports.http2.server.known_heads import MOST, MOST_BYTES, KnownHeads

LINES = st.sampled_from(
    [
        b"content-length: 3",
        b"Content-Length: 40",
        b"content-length: 04",
        b"content-length:5",
        b"CONTENT-LENGTH: 6",
        b"content-length: x",
        b"content-length: ",
        b"Content-Length: ",
        b"content-length: 1234567890123456789",
        b"x-content-length: 7",
        b"content-length : 8",
        b"length: 9",
        b"x: content-length: 10",
        b"connection: close",
        b"transfer-encoding: chunked",
        b"expect: 100-continue",
        b"accept: */*",
    ]
)


def read(block: bytes, reader: KnownHeads | None) -> object:
    try:
        head = read_head(block, 256) if reader is None else reader.read(block, 256)
    except BadRequest as error:
        return error.status, error.why
    said = {name: getattr(head, name) for name in RequestHead.__slots__ if name != "notes"}
    said["headers"] = [(name, int(value) if name == b"content-length" else value) for name, value in head.headers]
    return said


@settings(deadline=None)
@given(st.lists(st.lists(LINES, max_size=4), min_size=2, max_size=20))
def test_they_are_read_as_new_ones_are(heads: list[list[bytes]]) -> None:
    known = KnownHeads()
    for lines in heads:
        block = b"\r\n".join([b"POST /a?b HTTP/1.1", b"host: localhost", *lines, b""])
        assert read(block, known) == read(block, None)


@pytest.mark.parametrize("name", [b"content-length: ", b"Content-Length: "])
def test_a_length_that_is_empty_is_not_that_of_a_head_before(name: bytes) -> None:
    known, start = KnownHeads(), b"POST / HTTP/1.1\r\nhost: a\r\n" + name
    assert known.read(start + b"5\r\n", 256).content_length == 5
    for value in (b"", b" ", b"\t", b"+5", b"5 5"):
        with pytest.raises(BadRequest) as refused:
            known.read(start + value + b"\r\n", 256)
        assert refused.value.status == 400
    assert known.read(start + b"6\r\n", 256).content_length == 6


def test_notes_are_shared_by_heads_that_differ_in_the_length_alone() -> None:
    known, start = KnownHeads(), b"POST / HTTP/1.1\r\nhost: a\r\n"
    first = known.read(start + b"content-length: 3\r\n", 256)
    again = known.read(start + b"content-length: 3\r\n", 256)
    longer = known.read(start + b"content-length: 40\r\n", 256)
    other = known.read(start + b"content-length: 3\r\nx: y\r\n", 256)
    assert first is again
    assert (longer.content_length, longer.headers[-1]) == (40, (b"content-length", b"40"))
    assert longer.notes is first.notes
    assert other.notes is not first.notes


def test_they_are_bounded() -> None:
    known = KnownHeads()
    for number in range(3 * MOST):
        known.read(b"GET /%d HTTP/1.1\r\nhost: a\r\n" % number, 256)
        known.read(b"GET /%d HTTP/1.1\r\nhost: a\r\nx: %b\r\n" % (number, b"y" * MOST_BYTES), 256)
    assert len(known) <= MOST


HEADERS = st.lists(
    st.sampled_from(
        [
            (b"content-type", b"application/json"),
            (b"Request-Id", b"a"),
            (b"retry-after", b"1"),
            (b"date", b"now"),
            (b"connection", b"close"),
            (b"content-length", b"3"),
            (b"x", b"a\r\nb: c"),
        ]
    ),
    max_size=3,
).map(tuple)


@given(st.sampled_from([200, 204, 304, 404, 799]), HEADERS, st.integers(0, 10**9))
def test_the_head_of_a_whole_response_is_that_of_any_other(
    status: int, headers: tuple[tuple[bytes, bytes], ...], length: int
) -> None:
    short = whole_head(status, headers, length, b"now")
    if short is not None:
        said = [*headers, (b"content-length", b"%d" % length)]
        assert (short, length, False, False) == response_head(status, said, length, "1.1", False, True, b"now")
    plain = {b"content-type", b"Request-Id", b"retry-after"}
    assert (short is None) == (status in (204, 304) or any(name not in plain for name, _ in headers))
