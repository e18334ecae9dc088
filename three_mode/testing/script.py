"""Script of a scripted provider, as values.

A `Turn` is an answer of the model in no wire format; `wire/` encodes it as OpenAI, Anthropic, Gemini or Ollama do. An
`Answer` is a response as bytes. A `Fault` breaks or delays a response.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

Header = tuple[bytes, bytes]
FOREVER = 3_600.0  #: seconds of a stall that no test waits out


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response. Each piece of the body is sent as one DATA frame or chunk, and is one event of a stream."""

    status: int = 200  #: HTTP status
    headers: tuple[Header, ...] = ((b"content-type", b"application/json"),)  #: names and values
    pieces: tuple[bytes, ...] = (b"{}",)  #: the body, as it is cut into frames or chunks
    streamed: bool = False  #: False: with a content-length
    trailers: tuple[Header, ...] = ()  #: headers behind the body

    @property
    def body(self) -> bytes:
        """The pieces, joined."""
        return b"".join(self.pieces)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool by the model."""

    name: str  #: name of the tool
    arguments: dict[str, Any]  #: arguments of the call
    id: str = "call_1"  #: id that the tool's result repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the model, in no wire format."""

    text: tuple[str, ...] = ("Hello", " world", "!")  #: the answer, in the pieces that a stream has
    thinking: tuple[str, ...] = ()  #: thinking before the answer, in pieces
    tool_calls: tuple[ToolCall, ...] = ()  #: tools that the model asks for
    finish: Literal["stop", "length", "tool_calls", "content_filter"] = "stop"  #: why the answer ends
    input_tokens: int = 12  #: usage: tokens of the prompt
    output_tokens: int = 3  #: usage: tokens of the answer
    cached_tokens: int = 0  #: usage: tokens of the prompt out of a cache
    reasoning_tokens: int = 0  #: usage: tokens of thinking
    error: str | None = None  #: text of an error inside the stream or body, after a status of 200
    end_marker: bool = True  #: False: the stream ends without [DONE], message_stop and the like
    keep_alives: int = 0  #: comments, pings or blank lines before the first content

    @property
    def content(self) -> str:
        """The whole text of the answer."""
        return "".join(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Faults of one response. A fault that is None or False does not happen; several may happen together.

    A number of pieces counts the pieces of the body sent before the fault: 0 is between the head and the first piece.
    -1, where it is allowed, is before the head.
    """

    stall_before_head: float = 0.0  #: seconds before the head of the response; FOREVER is an hour
    stall_after: int | None = None  #: pieces before a stall
    stall_for: float = FOREVER  #: seconds of that stall
    pause: float = 0.0  #: seconds before every piece
    byte_by_byte: bool = False  #: whether every byte is written alone
    cut_after: int | None = None  #: pieces before the connection is cut
    cut_after_bytes: int | None = None  #: bytes of the response on the wire, framing included, before a cut
    cut_body_after_bytes: int | None = None  #: bytes of the body before a cut, which may be inside a character
    reset_after: int | None = None  #: pieces, or -1, before the stream is reset (HTTP/2: RST_STREAM)
    reset_code: int = 0x2  #: code of that reset: 0x2 is INTERNAL_ERROR, 0x7 is REFUSED_STREAM
    goaway_after: int | None = None  #: pieces, or -1, before GOAWAY
    goaway_processed: bool = True  #: False: the last stream id of GOAWAY is below this stream
    goaway_code: int = 0x0  #: code of GOAWAY


NO_FAULT = Fault()  #: nothing goes wrong


@dataclass(slots=True)
class Behaviour:
    """Behaviour of the server on every connection; changes apply to connections opened later."""

    max_streams: int = 100  #: streams of one HTTP/2 connection at once
    window: int | None = None  #: bytes of each stream that the client may send ahead; None: HTTP/2's default
    reads: bool = True  #: False: gives no window back, so that uploads stall
    answers_pings: bool = True  #: whether PING frames are answered
    settings_delay: float = 0.0  #: seconds before the server sends its SETTINGS


@dataclass(slots=True)
class Seen:
    """Request as the provider received it, and its outcome."""

    number: int  #: number of requests before it
    method: str  #: HTTP method
    path: str  #: path with its query
    headers: dict[str, str]  #: headers, names in lower case
    http_version: str  #: version of HTTP that the request came over
    connection: int  #: number of its connection
    stream: int  #: HTTP/2: id of its stream
    body: bytes = b""  #: body, as far as it has come
    finished: bool = False  #: whether the whole response went out
    cancelled: bool = False  #: whether the client left before that: RST_STREAM, or the end of the connection
    reset_code: int | None = None  #: code of the client's RST_STREAM
    cancelled_at: float | None = None  #: when the client left, in the loop's time
    pieces_sent: int = 0  #: pieces of the body that went out
    extra: dict[str, Any] = field(default_factory=dict)  #: values that a test attaches

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        import json

        return json.loads(self.body)

    def __repr__(self) -> str:
        return f"<Seen #{self.number} {self.method} {self.path} over {self.http_version}, stream {self.stream}>"
