"""Frames: a small versioned envelope and the payload, both in msgpack.

    envelope   [version, kind, to, from, id, deadline, trace, topic, count]        payload   any msgpack value

The two travel side by side (two parts of a ZeroMQ message, two fields of a ring record), so that a payload can be
passed on, or left undecoded, without touching it.

A positive `deadline` is an absolute time.monotonic(): on Linux, all processes of a machine share that clock. Between
machines the deadline is minus the seconds that remain. 0 is no deadline.
"""

import enum
from typing import Annotated, Any

import msgspec

from transports.bus.errors import BadAddress, BadFrame, NotEncodable

VERSION = 1
_TEXT_LIMIT = 1024


class Kind(enum.IntEnum):
    """Kind of a frame."""

    PUBLISH = 1
    SEND = 2
    ASK = 3
    STREAM = 4  # an ASK that is answered by PARTs and an END; `count` is the first credit
    REPLY = 5
    ERROR = 6  # payload: [code, text, detail]
    PART = 7
    END = 8
    CREDIT = 9  # `count` more PARTs may be sent
    CANCEL = 10
    ACK = 11  # between carriers only


# The kinds as plain numbers: on hot paths, looking up a member of an enum costs more than the work done with it.
PUBLISH, SEND, ASK, STREAM, REPLY, ERROR, PART, END, CREDIT, CANCEL, ACK = map(int, Kind)
KINDS = {int(kind): kind for kind in Kind}


_Text = Annotated[str, msgspec.Meta(max_length=_TEXT_LIMIT)]


class Envelope(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Envelope of a frame, decoded."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    kind: Annotated[int, msgspec.Meta(ge=PUBLISH, le=ACK)]
    to: _Text
    sender: _Text
    id: int
    deadline: float
    trace: _Text
    topic: str
    count: int


class Encoded(msgspec.Struct, frozen=True, gc=False):
    """A payload that is msgpack already, and is sent as it is."""

    raw: bytes
    """The msgpack of the payload."""


_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
encode_into = _encoder.encode_into
decode_envelope = msgspec.msgpack.Decoder(Envelope).decode
decode_payload = msgspec.msgpack.Decoder().decode


def pack_envelope(
    kind: int,
    to: str = "",
    sender: str = "",
    id: int = 0,  # noqa: A002 - the field's name on the wire
    deadline: float = 0.0,
    trace: str = "",
    topic: str = "",
    count: int = 0,
) -> bytes:
    """Encode an envelope; BadAddress for a text that is too long or not valid Unicode."""
    try:
        packed = encode((VERSION, kind, to, sender, id, deadline, trace, topic, count))
    except UnicodeEncodeError as error:
        raise BadAddress(f"a sender, topic or trace that is not valid Unicode: {error}") from None
    if len(packed) > _TEXT_LIMIT:  # or none of them can be too long
        for what, text in (("sender", sender), ("topic", topic), ("trace", trace)):
            if len(text) > _TEXT_LIMIT:
                raise BadAddress(f"a {what} has at most {_TEXT_LIMIT} characters; {text[:40]!r}... has more")
    return packed


def unpack_envelope(raw: bytes) -> Envelope:
    """Decode an envelope, or raise a BadFrame that says what is wrong with it."""
    try:
        return decode_envelope(raw)
    except UNREADABLE as error:
        raise unreadable(raw, error) from None


UNREADABLE = (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def unreadable(raw: bytes, error: Exception) -> BadFrame:
    """Say what is wrong with an envelope that `decode_envelope` refused."""
    try:
        version, kind = msgspec.msgpack.decode(raw)[:2]
    except Exception:  # noqa: BLE001 - no envelope at all
        return BadFrame(f"not an envelope of a bus: {error}")
    if type(version) is int and version != VERSION:
        return BadFrame(f"a frame of version {version}; this build speaks version {VERSION}")
    if type(kind) is int and not PUBLISH <= kind <= ACK:
        return BadFrame(f"a frame of unknown kind {kind}")
    return BadFrame(f"not an envelope of a bus: {error}")


UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError, UnicodeEncodeError)


def encode_payload(payload: Any) -> bytes:
    """Encode `payload` as msgpack, or raise NotEncodable."""
    if type(payload) is Encoded:
        return payload.raw
    try:
        return encode(payload)
    except UNENCODABLE as error:
        raise not_encodable(error) from None


def not_encodable(error: Exception) -> NotEncodable:
    """Say what cannot be encoded, and what can."""
    return NotEncodable(
        f"the payload cannot be sent: {error}. What can: None, bool, int (64 bit), float, str, bytes, list, dict,"
        " dataclasses, msgspec structs, and what is built of these"
    )
