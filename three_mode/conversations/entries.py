"""Rows of a conversation's log, and how their bodies are written. Pure.

A row is never changed. What happens later is a row of its own: an answer, a turn taken back, a summary, a pin.
"""

import zlib
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from three_mode.conversations.dictionary import DICTIONARY
from three_mode.errors import ConversationFileError, InvalidRequest
from three_mode.messages import Message, Text, ToolResult, Usage, from_msgpack, to_msgpack
from three_mode.messages.reply import FinishReason

T = TypeVar("T")


class EntryKind(IntEnum):
    """What a row says. Those from `CUT` on are marks: they are few, and all of them are read."""

    ROUND = 0  #: a turn goes on: a call of tools before they run, or their results
    SAID = 1  #: a turn begins: messages of the person or program
    ANSWERED = 2  #: the turn ends: messages of the model and of its tools
    CUT = 3  #: the turn ends without an answer, for good
    UNDONE = 4  #: a turn is taken back
    SUMMARY = 5  #: a text that stands for a span of turns
    SYSTEM = 6  #: the system message from here on
    PIN = 7  #: a turn is kept in every window, or no longer


FIRST_MARK = EntryKind.CUT


class LogEntry(NamedTuple):
    """One row."""

    number: int  #: place in the log of its conversation
    kind: EntryKind
    turn: int  #: the turn that it belongs to, or that it is about
    at: int  #: seconds since 1970
    tokens: int  #: about how many tokens its messages are
    body: bytes


class Said(Struct, frozen=True, array_like=True):
    """Body of `SAID`."""

    messages: tuple[Message, ...]


class Answered(Struct, frozen=True, array_like=True):
    """Body of `ANSWERED`."""

    messages: tuple[Message, ...]
    model: str = ""
    provider: str = ""
    finish: FinishReason = "stop"
    usage: Usage = Usage()
    request_id: str = ""
    about: dict[str, Any] = {}


class Round(Struct, frozen=True, array_like=True):
    """Body of `ROUND`. A message of the model takes the place of the one before that has no results yet."""

    messages: tuple[Message, ...]


class Cut(Struct, frozen=True, array_like=True):
    """Body of `CUT`."""

    why: str  # "crash", "cancelled", or the name of an error
    stays: bool = False  # whether the turn is part of the conversation all the same: tools have run in it


class Undone(Struct, frozen=True, array_like=True):
    """Body of `UNDONE`. The turn is a column."""


class SpanSummary(Struct, frozen=True, array_like=True):
    """Body of `SUMMARY`: the text stands for the turns from `first` to `last`, both included."""

    first: int
    last: int
    text: str
    model: str = ""
    usage: Usage = Usage()


class System(Struct, frozen=True, array_like=True):
    """Body of `SYSTEM`."""

    text: str


class Pin(Struct, frozen=True, array_like=True):
    """Body of `PIN`: the turn is a column, `rows` are the numbers of its rows."""

    on: bool
    rows: tuple[int, ...] = ()


Body = Said | Round | Answered | Cut | Undone | SpanSummary | System | Pin
BODIES: dict[EntryKind, type[Any]] = {
    EntryKind.ROUND: Round,
    EntryKind.SAID: Said,
    EntryKind.ANSWERED: Answered,
    EntryKind.CUT: Cut,
    EntryKind.UNDONE: Undone,
    EntryKind.SUMMARY: SpanSummary,
    EntryKind.SYSTEM: System,
    EntryKind.PIN: Pin,
}
KINDS = {body: kind for kind, body in BODIES.items()}

_WORTH_IT = 24  # bytes from which a body is deflated
_BITS = -15  # of the window of deflate, without a header: the largest that a row may have
# A small window and few hashes hold a dictionary and a row, and are copied in less time than the dictionary is read.
_PACKER = zlib.compressobj(4, zlib.DEFLATED, -12, 5, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
_PLAIN, _DEFLATED = b"\x00", b"\x01"


def encode_body(body: Body) -> bytes:
    """The body as bytes: msgpack, deflated where that makes it shorter. The first byte says which."""
    plain = to_msgpack(body)
    if len(plain) >= _WORTH_IT:
        packer = _PACKER.copy()
        packed = packer.compress(plain) + packer.flush()
        if len(packed) < len(plain):
            return _DEFLATED + packed
    return _PLAIN + plain


def decode_body(kind: type[T], data: bytes) -> T:
    """The body that `encode_body` wrote. Bytes that are none are a `ConversationFileError`."""
    try:
        plain = zlib.decompressobj(_BITS, DICTIONARY).decompress(data[1:]) if data[:1] == _DEFLATED else data[1:]
        return from_msgpack(kind, plain)
    except (zlib.error, InvalidRequest) as error:
        raise ConversationFileError(f"a row of the conversation cannot be read: {error}") from None


def text_of(messages: tuple[Message, ...]) -> str:
    """The words of messages, for the index: their texts and the texts of tool results."""
    found: list[str] = []
    for message in messages:
        if isinstance(message.content, str):
            found.append(message.content)
            continue
        for part in message.content:
            if isinstance(part, Text):
                found.append(part.text)
            elif isinstance(part, ToolResult):
                inner = part.content
                found.append(inner if isinstance(inner, str) else "".join(p.text for p in inner if isinstance(p, Text)))
    return "\n".join(found)
