"""Plain calls of HTTP/1.1, held against h11: what is written is what h11 writes, and what is read is what h11 reads."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.http2 import InvalidRequest, Request
from transports.http2.h1_plain import PlainHead, read_response, request_block
from transports.http2.heads import body_length, request_head
from transports.http2.request import Header

NAMES = st.sampled_from(
    [b"x", b"Accept", b"content-type", b"authorization", b"Expect", b"te", b"trailer", b"x-a.b~c", b"bad name", b""]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"a", b"application/json", b"100-continue", b"a b\tc", b" a", b"a\r\nb: c", b"\xff", b"a\x7f"]
    ),
    st.binary(max_size=6),
)
LINES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([b"content-length", b"Content-Length"]), st.sampled_from([b"3", b"0", b"x", b"03", b""])
        ),
        st.tuples(
            st.sampled_from(
                [b"Server", b"date", b"connection", b"transfer-encoding", b"upgrade", b"x y", b"set-cookie"]
            ),
            st.one_of(
                st.sampled_from([b"a", b" a ", b"close", b"chunked", b"", b"a\x01", b"a\nb"]), st.binary(max_size=4)
            ),
        ),
    ),
    max_size=5,
)
STARTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 ",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 99 x",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1  200 OK",
        b"HTTP/2 200",
        b"HTTP/1.1 200 \xe9t\xe9",
    ]
)


def by_h11(request: Request) -> bytes:
    """The same request as h11 writes it, up to its body."""
    head, length = request_head(request), body_length(request)
    headers = [(b"host", head[2][1]), *head[4:], *([] if length is None else [(b"content-length", length)])]
    written = h11.Connection(h11.CLIENT).send(
        h11.Request(method=request.method, target=request.target, headers=headers)
    )
    assert written is not None
    return written


@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
    st.sampled_from([b"", b"body"]),
)
def test_a_request_is_written_as_h11_writes_it(method: str, headers: list[Header], body: bytes) -> None:
    request = Request.to(method, "http://example.org:81/v1/x?y=z", headers, body)
    try:
        head, length = request_head(request), body_length(request)
    except InvalidRequest:
        return
    block = request_block(head)
    if block is None:
        return
    line = b"" if length is None else b"content-length: %s\r\n" % length
    assert block + line + b"\r\n" == by_h11(request)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_usual_requests_are_plain(method: str) -> None:
    headers = [(b"Authorization", b"Bearer k"), (b"content-type", b"application/json"), (b"accept", b"*/*")]
    assert request_block(request_head(Request.to(method, "http://example.org/v1", headers, b"{}"))) is not None


@pytest.mark.parametrize(("name", "value"), [(b"expect", b"100-continue"), (b"x", b"a\x0bb"), (b"x", b"\x7f")])
def test_what_h11_has_to_judge_is_not_plain(name: bytes, value: bytes) -> None:
    assert request_block(request_head(Request.to("POST", "http://example.org/", [(name, value)], b"{}"))) is None


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE"])
def test_requests_whose_answers_may_have_no_body_are_not_plain(method: str) -> None:
    assert request_block(request_head(Request.to(method, "http://example.org/", []))) is None


@given(STARTS, LINES)
def test_a_response_is_read_as_h11_reads_it(start: bytes, lines: list[Header]) -> None:
    head = b"".join([start, b"\r\n", *(name + b":" + value + b"\r\n" for name, value in lines)])
    ours = read_response(head)
    if ours is None:
        return
    theirs = h11.Connection(h11.CLIENT)
    theirs.send(h11.Request(method=b"GET", target=b"/", headers=[(b"host", b"x")]))
    theirs.send(h11.EndOfMessage())
    theirs.receive_data(head + b"\r\n" + b"z" * (ours.length + 1))
    event = theirs.next_event()
    assert isinstance(event, h11.Response)
    assert (event.status_code, event.reason, tuple(event.headers)) == (ours.status, ours.reason, ours.headers)
    received = 0
    while isinstance(event := theirs.next_event(), h11.Data):
        received += len(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert received == ours.length
    assert theirs.trailing_data[0] == b"z"
    assert theirs.their_state is h11.DONE, "the connection stays open"
    assert theirs.our_state is h11.DONE


def test_a_usual_response_is_plain() -> None:
    head = b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 12\r\nx:\r\n"
    headers = ((b"date", b"today"), (b"content-length", b"12"), (b"x", b""))
    assert read_response(head) == PlainHead(200, b"OK", headers, 12)
    assert read_response(b"HTTP/1.1 503\r\ncontent-length: 0\r\n") == PlainHead(
        503, b"", ((b"content-length", b"0"),), 0
    )


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: +1\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: \xb2\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 19 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n folded\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 1\r\n",
        b"HTTP/1.1 200 OK\r\nx : y\r\ncontent-length: 1\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 1\r\n",
        b"HTTP/1.1 103 Early Hints\r\ncontent-length: 1\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n",
    ],
)
def test_what_is_not_plain_beyond_doubt_is_left_to_h11(head: bytes) -> None:
    assert read_response(head) is None
