"""The decoders of event streams: what the specification says, for every way in which the bytes can be split."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.http2 import LimitExceeded, NDJSONDecoder, ServerSentEvent, SSEDecoder


def decode(*pieces: bytes, max_event: int = 1_000_000) -> list[ServerSentEvent]:
    decoder = SSEDecoder(max_event)
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.finish()


def lines(*pieces: bytes) -> list[bytes]:
    decoder = NDJSONDecoder()
    return [line for piece in pieces for line in decoder.feed(piece)] + decoder.finish()


def event(data: bytes, name: str = "message", last_id: str = "", retry: int | None = None) -> ServerSentEvent:
    return ServerSentEvent(name, data, last_id, retry)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\n", [event(b"a")]),
        (b"data:a\n\n", [event(b"a")]),
        (b"data:  a\n\n", [event(b" a")]),
        (b"data\n\n", [event(b"")]),
        (b"data: a\ndata: b\n\n", [event(b"a\nb")]),
        (b"event: ping\ndata: {}\n\n", [event(b"{}", "ping")]),
        (b"event: ping\n\n", []),
        (b": a comment\n\ndata: a\n\n", [event(b"a")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [event(b"a", last_id="7"), event(b"b", last_id="7")]),
        (b"id: 7\ndata: a\n\nid\ndata: b\n\n", [event(b"a", last_id="7"), event(b"b")]),
        (b"id: 1\x002\ndata: a\n\n", [event(b"a")]),
        (b"retry: 10\ndata: a\n\n", [event(b"a", retry=10)]),
        (b"retry: ten\ndata: a\n\n", [event(b"a")]),
        (b"unknown: x\ndata: a\n\n", [event(b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [event(b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [event(b"a"), event(b"b"), event(b"c")]),
        # U+2028, U+0085 and the separators of ASCII end no line.
        (
            "data: a\u2028b\u0085c\x0b\x0c\x1c\x1d\x1ed\n\n".encode(),
            [event("a\u2028b\u0085c\x0b\x0c\x1c\x1d\x1ed".encode())],
        ),
        (b"data: a", [event(b"a")]),  # a server that leaves out the last blank line
        (b"", []),
        (b"\xef\xbb", []),
    ],
)
def test_a_stream_and_its_events(stream: bytes, expected: list[ServerSentEvent]) -> None:
    assert decode(stream) == expected
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == expected


PIECES = st.sampled_from(
    [
        b"data: ",
        b"data",
        b":",
        b" ",
        b"a",
        b"\r",
        b"\n",
        b"\r\n",
        b"event: x",
        b"id: 1",
        b"retry: 3",
        b"\xef\xbb\xbf",
        "日".encode(),
    ]
)
STREAMS = st.lists(PIECES, max_size=40).map(b"".join)


@st.composite
def split(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream = draw(STREAMS)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    return stream, [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(split())
def test_any_split_gives_the_same_events(streams: tuple[bytes, list[bytes]]) -> None:
    whole, pieces = streams
    assert decode(*pieces) == decode(whole)
    assert lines(*pieces) == lines(whole)


def reference(stream: bytes) -> list[tuple[str, bytes]]:
    """The specification, written down naively: line by line over the whole text."""
    stream = stream.removeprefix(b"\xef\xbb\xbf")
    events, data, name = [], [], ""
    for line in [*stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), b""]:
        if not line:
            if data:
                events.append((name or "message", b"\n".join(data)))
            data, name = [], ""
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value.decode()
    return events


@given(STREAMS)
def test_the_decoder_agrees_with_the_specification(stream: bytes) -> None:
    assert [(one.event, one.data) for one in decode(stream)] == reference(stream)


@given(
    st.lists(st.binary(max_size=30).filter(lambda data: not set(data) & set(b"\r\n")), max_size=10),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_what_is_sent_is_what_comes(messages: list[bytes], end: bytes) -> None:
    stream = b"".join(b"data: " + message + end + end for message in messages)
    assert [one.data for one in decode(stream)] == messages


def test_an_event_has_a_bounded_size_however_it_comes() -> None:
    for pieces in (
        [b"data: " + b"x" * 200],
        [b"data: "] + [b"x"] * 200,
        [b"data: xxxx\n"] * 40,
        [b"x" * 200 + b"\n"],
    ):
        with pytest.raises(LimitExceeded, match="longer than 100 bytes"):
            decode(*pieces, max_event=100)
    assert decode(*[b"data: " + b"x" * 90 + b"\n\n"] * 5, max_event=100) == [event(b"x" * 90)] * 5
    with pytest.raises(LimitExceeded):
        NDJSONDecoder(max_line=10).feed(b"x" * 11)


def test_a_decoder_can_be_used_again_after_finish() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"id: 1\ndata: a\n\ndata: b") == [event(b"a", last_id="1")]
    assert decoder.finish() == [event(b"b", last_id="1")]
    assert decoder.feed(b"\xef\xbb\xbfdata: c\n\n") == [event(b"c")]


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=10) | st.integers()), max_size=8),
    st.sampled_from(["\n", "\r\n"]),
)
def test_ndjson(values: list[dict[str, object]], end: str) -> None:
    stream = "".join(json.dumps(value, ensure_ascii=False) + end for value in values).encode()
    assert [json.loads(line) for line in lines(stream)] == values
    assert [json.loads(line) for line in lines(b"\n \n" + stream.rstrip())] == values


@pytest.mark.parametrize("size", [50_000, 200_000])
def test_time_is_linear_in_the_input(size: int) -> None:
    """Counted, not timed: bytes that the splitter looks at again would make the work grow with the square."""
    decoder = SSEDecoder()
    looked_at = 0

    class Counting(bytes):
        def split(self, *args: object) -> list[bytes]:  # type: ignore[override]
            nonlocal looked_at
            looked_at += len(self)
            return super().split(*args)  # type: ignore[arg-type]

    for _ in range(size):
        decoder.feed(Counting(b"x"))
    decoder.feed(Counting(b"\n\n"))
    assert looked_at <= size + 2


LINES = st.sampled_from(
    [
        b"data: a",
        b"data: b",
        b"data:c",
        b"data",
        b"data: ",
        b"event: x",
        b"event: yy",
        b"event:z",
        b": ping",
        b"id: 7",
        b"\r",
        b"",
        b"",
    ]
)


@given(st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\n", b"\n", b"\r\n"]))), st.lists(st.integers(0, 400)))
def test_the_data_alone_is_the_data_of_the_events(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in lines)
    at = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    decoder = SSEDecoder()
    found = [data for start, stop in pairwise(at) for data in decoder.feed_data(stream[start:stop])]
    found += [event.data for event in decoder.finish()]
    assert found == [event.data for event in decode(stream)]


def test_the_data_alone_is_bounded_as_well() -> None:
    decoder = SSEDecoder(100)
    assert decoder.feed_data(b"data: " + b"a" * 90 + b"\n\n") == [b"a" * 90]
    with pytest.raises(LimitExceeded):
        decoder.feed_data(b"data: " + b"a" * 101 + b"\n\n")
