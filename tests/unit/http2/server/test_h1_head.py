"""The reader of HTTP/1.1 heads, held against h11: what it accepts, h11 accepts, and understands the same way."""

import re

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transports.http2.server.h1_body import ChunkedBody, LengthBody
from transports.http2.server.h1_head import read_head
from transports.http2.server.head import BadRequest, RequestHead

MOST = 256
START = b"GET /a?b=c HTTP/1.1\r\n"
HOST = b"host: localhost\r\n"

names = st.sampled_from(
    [b"host", b"Host", b"content-length", b"Content-Length", b"transfer-encoding", b"Transfer-Encoding", b"x", b"X-Y"],
) | st.sampled_from(
    [b"connection", b"expect", b"upgrade", b"content-length ", b" x", b"x\t", b"", b"x:y", b"x\0", b"\xe9"]
)
values = (
    st.sampled_from(
        [
            b"localhost",
            b"3",
            b"0",
            b"03",
            b"+3",
            b"-3",
            b"3, 3",
            b"0x3",
            b"\xb2",
            b"chunked",
            b"CHUNKED",
            b"gzip, chunked",
        ]
    )
    | st.sampled_from(
        [
            b"close",
            b"keep-alive",
            b"100-continue",
            b"websocket",
            b"",
            b" 3 ",
            b"\t3\t",
            b"a\tb",
            b"a\x0bb",
            b"a\0b",
            b"a\rb",
        ]
    )
    | st.binary(max_size=6)
)
line_ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\n\t", b"\r\r\n"])
fields = st.tuples(names, st.sampled_from([b":", b": ", b":\t", b" : ", b"", b"::"]), values, line_ends)
targets = st.sampled_from(
    [b"/", b"/a?b=c", b"*", b"http://localhost/x", b"http://evil/", b"evil", b"/\xe9", b"/a b", b""]
)
request_lines = st.builds(
    lambda method, one, target, two, version, end: method + one + target + two + version + end,
    st.sampled_from([b"GET", b"POST", b"get", b"OPTIONS", b"G T", b"", b"G\xe9T"]),
    st.sampled_from([b" "] * 8 + [b"  ", b"\t", b""]),
    targets,
    st.sampled_from([b" "] * 8 + [b"  ", b"\t", b""]),
    st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b"HTTP/1.1 "]),
    line_ends,
)
mostly_right = st.lists(fields, max_size=5).map(lambda found: START + HOST + b"".join(b"".join(one) for one in found))
anything = st.tuples(request_lines, st.lists(fields, max_size=5)).map(
    lambda found: found[0] + b"".join(b"".join(one) for one in found[1])
)


def ours(block: bytes) -> RequestHead | None:
    try:
        return read_head(block, MOST)
    except BadRequest:
        return None


def theirs(block: bytes) -> h11.Request | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(block + b"\r\n")
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    return event if isinstance(event, h11.Request) else None


@settings(max_examples=1_500, deadline=None)
@given(mostly_right | anything)
@example(START + HOST + b"content-length: 3\r\n")
@example(START + HOST + b"transfer-encoding: chunked\r\n")
def test_what_is_accepted_h11_accepts_and_reads_the_same_way(block: bytes) -> None:
    end = block.find(b"\r\n\r\n")
    block = block[: end + 2] if end >= 0 else block
    mine = ours(block)
    if mine is None:
        return
    reference = theirs(block)
    assert reference is not None, f"h11 refuses {block!r}"
    assert mine.method.encode() == reference.method
    assert mine.http_version.encode() == reference.http_version
    assert mine.headers == [(name, value) for name, value in reference.headers]
    if reference.target.startswith(b"/"):
        assert (
            mine.raw_path + (b"?" + mine.query if mine.query or b"?" in reference.target else b"") == reference.target
        )
    lengths = [int(value) for name, value in reference.headers if name == b"content-length"]
    assert lengths == ([] if mine.content_length is None else [mine.content_length])
    assert mine.chunked == any(name == b"transfer-encoding" for name, _ in reference.headers)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.from_regex(rb"[a-z][a-z0-9-]{0,10}", fullmatch=True).filter(
                lambda name: name not in (b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade")
            ),
            st.from_regex(rb"[!-~\x80-\xff]([\t -~\x80-\xff]{0,20}[!-~\x80-\xff])?", fullmatch=True),
        ),
        max_size=20,
    )
)
def test_what_is_right_is_accepted(found: list[tuple[bytes, bytes]]) -> None:
    block = START + HOST + b"".join(name + b": " + value + b"\r\n" for name, value in found)
    head = read_head(block, MOST)
    assert head.headers == [(b"host", b"localhost"), *found]
    assert theirs(block) is not None


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", b""),
        (b"/a%20b?c=%20", "/a b", b"c=%20"),
        (b"http://localhost", "/", b""),
        (b"HTTP://LOCALHOST/a?b", "/a", b"b"),
        (b"//evil.example/a", "//evil.example/a", b""),
    ],
)
def test_targets(target: bytes, path: str, query: bytes) -> None:
    head = read_head(b"GET " + target + b" HTTP/1.1\r\n" + HOST, MOST)
    assert (head.path, head.query) == (path, query)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"connection: close\r\n", False),
        (b"1.1", b"connection: x, Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"connection: Keep-Alive\r\n", True),
    ],
)
def test_whether_the_connection_is_kept(version: bytes, connection: bytes, kept: bool) -> None:
    assert read_head(b"GET / HTTP/" + version + b"\r\n" + HOST + connection, MOST).keep_alive is kept


# Bodies


def chunked(data: bytes, cuts: list[int]) -> tuple[bytes, bytes | None] | None:
    """The body in pieces of these lengths; None where it is refused."""
    body, out = ChunkedBody(), b""
    rest: bytes | None = None
    at = 0
    try:
        for cut in [*cuts, len(data)]:
            if rest is not None or at >= len(data):
                break
            piece, rest = body.feed(data[at : at + cut])
            out += piece
            at += cut
    except BadRequest:
        return None
    return out, None if rest is None else rest + data[at:]


def by_h11(data: bytes) -> tuple[bytes, bytes | None] | None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(START + HOST + b"transfer-encoding: chunked\r\n\r\n")
    connection.next_event()
    connection.receive_data(data)
    out = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                out += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return out, connection.trailing_data[0]
            else:
                return out, None
    except h11.RemoteProtocolError:
        return None


parts = st.lists(
    st.binary(min_size=1, max_size=40).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data))
    | st.sampled_from(
        [b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"3;a=b\r\nabc\r\n", b"3\nabc\r\n", b"3 \r\nabc\r\n", b"03\r\nabc\r\n"]
    )
    | st.sampled_from(
        [b"+3\r\nabc\r\n", b"0x3\r\nabc\r\n", b"3\r\nabcd\r\n", b"f" * 20 + b"\r\n", b"\r\n", b"G\r\n", b"3\r\nabc\n"]
    )
    | st.binary(max_size=5),
    max_size=6,
).map(b"".join)


@settings(max_examples=1_500, deadline=None)
@given(parts, st.lists(st.integers(1, 7), max_size=60))
def test_chunks_are_read_as_h11_reads_them_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole = chunked(data, [])
    assert whole == chunked(data, cuts) or whole is None or chunked(data, cuts) is None
    if whole is None:
        return
    reference = by_h11(data)
    if reference is None:
        assert whole[1] is None, f"h11 refuses {data!r}"
        return
    assert whole[0] == reference[0] or whole[1] is None
    assert whole[1] == reference[1] or whole[1] is None


@given(st.binary(max_size=100), st.lists(st.integers(1, 9), max_size=50))
def test_a_body_of_a_length(data: bytes, cuts: list[int]) -> None:
    length = len(data) // 2
    body, out, at = LengthBody(length), b"", 0
    rest: bytes | None = None if length else data
    for cut in [*cuts, len(data)]:
        if rest is not None:
            break
        piece, rest = body.feed(data[at : at + cut])
        out += piece
        at += cut
    assert out == data[:length]
    if length:
        assert rest is not None
        assert rest + data[at:] == data[length:]


def test_the_pattern_of_fields_takes_no_time_for_what_does_not_fit() -> None:
    """A pattern that tries again and again would take minutes."""
    block = START + b"a" * 60_000 + b"\r\n"
    with pytest.raises(BadRequest):
        read_head(block, MOST)
    with pytest.raises(BadRequest):
        read_head(START + b"a:" + b" " * 60_000 + b"\0\r\n", MOST)
    assert re.fullmatch(rb"[a-z]*", b"abc")
