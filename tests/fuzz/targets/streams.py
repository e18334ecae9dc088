"""Server-sent events and NDJSON: any cut gives the same events, which are those of the specification."""

import msgspec

from tests.fuzz.pieces import cut
from tests.fuzz.target import Target
from transports.http2 import LimitExceeded, NDJSONDecoder, ServerSentEvent, SSEDecoder

MOST = 512  # bytes of an event or a line


def _events(pieces: list[bytes]) -> list[ServerSentEvent] | None:
    decoder = SSEDecoder(MOST)
    try:
        return [event for piece in pieces for event in decoder.feed(piece)] + decoder.finish()
    except LimitExceeded:
        return None


def _data(pieces: list[bytes]) -> list[bytes] | None:
    decoder = SSEDecoder(MOST)
    try:
        found = [data for piece in pieces for data in decoder.feed_data(piece)]
        return found + [event.data for event in decoder.finish()]
    except LimitExceeded:
        return None


def _lines(pieces: list[bytes]) -> list[bytes] | None:
    decoder = NDJSONDecoder(MOST)
    try:
        return [line for piece in pieces for line in decoder.feed(piece)] + decoder.finish()
    except LimitExceeded:
        return None


def sse(data: bytes) -> None:
    """The first byte says how the rest is cut."""
    whole, pieces = cut(data)
    events = _events([whole])
    assert _events(pieces) == events, "another cut gives other events"
    for one in ([whole], pieces):
        assert _data(one) == (None if events is None else [event.data for event in events]), "feed_data differs"
    if events is None:
        return
    for event in events:
        assert len(event.data) <= MOST
        assert b"\r" not in event.data
    written = b"".join(_written(event) for event in events)
    again = _events([written])
    assert again is None or [(e.event, e.data) for e in again] == [(e.event, e.data) for e in events]


def _written(event: ServerSentEvent) -> bytes:
    lines = [b"event: " + event.event.encode()] if event.event != "message" else []
    return b"\n".join([*lines, *(b"data: " + line for line in event.data.split(b"\n"))]) + b"\n\n"


def ndjson(data: bytes) -> None:
    """Every line of any cut is one line, and a JSON value goes through as it was."""
    whole, pieces = cut(data)
    lines = _lines([whole])
    assert _lines(pieces) == lines, "another cut gives other lines"
    for line in lines or ():
        assert line.strip()
        assert b"\n" not in line
        assert b"\r" not in line
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        written = msgspec.json.encode(value)
        assert _lines([written + b"\n", written]) in (None, [written, written])


TARGETS = (Target(name="sse", run=sse), Target(name="ndjson", run=ndjson))
