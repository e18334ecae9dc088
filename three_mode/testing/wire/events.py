"""Encoding that the wire formats share."""

import json
from typing import Any

from three_mode.testing.script import Answer, Header

JSON: tuple[Header, ...] = ((b"content-type", b"application/json"),)
EVENT_STREAM: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)
NDJSON: tuple[Header, ...] = ((b"content-type", b"application/x-ndjson"),)


def encode(value: Any) -> bytes:
    """Encodes a value as JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value: Any, event: str | None = None) -> bytes:
    """Encodes one server-sent event."""
    head = b"" if event is None else b"event: " + event.encode() + b"\n"
    data = value if isinstance(value, bytes) else encode(value)
    return head + b"data: " + data + b"\n\n"


def document(value: Any, *, status: int = 200, headers: tuple[Header, ...] = ()) -> Answer:
    """Response with one JSON body."""
    return Answer(status=status, headers=JSON + headers, pieces=(encode(value),))


def event_stream(pieces: list[bytes], headers: tuple[Header, ...] = ()) -> Answer:
    """Streamed response of server-sent events."""
    return Answer(headers=EVENT_STREAM + headers, pieces=tuple(pieces), streamed=True)
