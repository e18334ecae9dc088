"""What a scripted provider is told to do. Values only.

A `Turn` says what the model "answers", in no provider's words; the wire formats in `wire/` say it as OpenAI, Anthropic,
Gemini or Ollama would. An `Answer` is a response as bytes. A `Fault` is what goes wrong on the way.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Header = tuple[bytes, bytes]
FOREVER = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response. Each piece of the body is sent as one DATA frame or chunk, and is one event of a stream."""

    status: int = 200
    headers: tuple[Header, ...] = ((b"content-type", b"application/json"),)
    pieces: tuple[bytes, ...] = (b"{}",)
    streamed: bool = False  # False: with a content-length
    trailers: tuple[Header, ...] = ()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by the model."""

    name: str
    arguments: dict[str, Any]
    id: str = "call_1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the model."""

    text: tuple[str, ...] = ("Hello", " world", "!")  # the pieces it streams
    thinking: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Literal["stop", "length", "tool_calls", "content_filter"] = "stop"
    input_tokens: int = 12
    output_tokens: int = 3
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    error: str | None = None  # 200, and then an error inside the stream (or the body)
    end_marker: bool = True  # False: the stream ends without [DONE], message_stop and the like
    keep_alives: int = 0  # comments, pings or blank lines before the first content

    @property
    def content(self) -> str:
        return "".join(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong. Those that are None or False do not happen; several may.

    `after` counts pieces of the body that went out before: 0 is between the head and the first piece.
    """

    stall_before_head: float = 0.0  # seconds; FOREVER is an hour
    stall_after: int | None = None  # pieces
    stall_for: float = FOREVER
    pause: float = 0.0  # seconds before every piece
    byte_by_byte: bool = False
    cut_after: int | None = None  # pieces; then the connection is cut
    cut_after_bytes: int | None = None  # of the response on the wire, framing included
    cut_body_after_bytes: int | None = None  # of the body: can be in the middle of a character
    reset_after: int | None = None  # pieces; -1 is before the head. HTTP/2: RST_STREAM with reset_code
    reset_code: int = 0x2  # INTERNAL_ERROR; 0x7 is REFUSED_STREAM
    goaway_after: int | None = None  # pieces; -1 is before the head
    goaway_processed: bool = True  # False: last_stream_id is below this stream
    goaway_code: int = 0x0


NO_FAULT = Fault()


@dataclass(slots=True)
class Behaviour:
    """How the server treats every connection; changes hold for connections opened later."""

    max_streams: int = 100
    window: int | None = None  # of each stream, for what the client sends; None: HTTP/2's default
    reads: bool = True  # False: gives no window back, so that uploads stall
    answers_pings: bool = True
    settings_delay: float = 0.0


@dataclass(slots=True)
class Seen:
    """A request as the provider saw it, and what became of it."""

    number: int
    method: str
    path: str  # with its query
    headers: dict[str, str]
    http_version: str
    connection: int
    stream: int
    body: bytes = b""
    finished: bool = False  # the whole response went out
    cancelled: bool = False  # the client left before that: RST_STREAM, or the end of the connection
    reset_code: int | None = None
    cancelled_at: float | None = None  # in the loop's time
    pieces_sent: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Seen #{self.number} {self.method} {self.path} over {self.http_version}, stream {self.stream}>"
