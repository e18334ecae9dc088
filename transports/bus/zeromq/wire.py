"""Heads of messages between members over ZeroMQ: the first part, and the only one that is not a frame."""

import msgspec

from transports.bus.errors import BadFrame
from transports.bus.frames import UNREADABLE


class _Head(msgspec.Struct, array_like=True, tag=True, gc=False):
    """First part of a message; `sender` is the id of the sending member."""

    sender: str


class Direct(_Head):
    """A direct frame; envelope and body follow."""

    flags: int


class Broadcast(_Head):
    """A published message; topic first, envelope and body follow."""

    seq: int
    flags: int


class Tick(_Head):
    """On PUB: the sender has published up to `seq`. With a token: the answer to Probe, which shows that PUB arrives."""

    seq: int
    token: int


class Probe(_Head):
    """Query for a Tick with this token."""

    token: int


class Want(_Head):
    """Request to send messages `first` to `last` again."""

    first: int
    last: int


class Repair(_Head):
    """A message that is sent again; topic, envelope and body follow."""

    seq: int
    flags: int


class NoLongerHeld(_Head, tag="Gone"):
    """The writer no longer holds messages up to `last`."""

    last: int


class Ack(_Head):
    """A RELIABLE reader has handled up to `seq`."""

    seq: int


class Query(_Head):
    """Query for a QueryAnswer once message `seq` is handled, or lost."""

    token: int
    seq: int


class QueryAnswer(_Head, tag="Answer"):
    """Answer to Query ("seen" or "lost"), and the end of Past ("all")."""

    token: int
    verdict: str


class WantPast(_Head):
    """Request for the messages before `before` that the writer still holds; 0: all."""

    token: int
    before: int


class Past(_Head):
    """Answer to WantPast: one message; topic, envelope and body follow. QueryAnswer is the last."""

    token: int
    seq: int
    flags: int


class StateQuery(_Head, tag="State"):
    """Query for the receiver's progress with the sender's messages; the answer is StateIs."""

    token: int


class StateIs(_Head):
    """Progress of a reader: the next message, messages lost, gaps."""

    token: int
    next: int
    lost: int
    gaps: int


Head = (
    Direct
    | Broadcast
    | Tick
    | Probe
    | Want
    | Repair
    | NoLongerHeld
    | Ack
    | Query
    | QueryAnswer
    | WantPast
    | Past
    | StateQuery
    | StateIs
)
_decode = msgspec.msgpack.Decoder(Head).decode
pack = msgspec.msgpack.Encoder().encode


def unpack(raw: bytes) -> Head:
    """Decode a head, or raise BadFrame."""
    try:
        head: Head = _decode(raw)
    except UNREADABLE as error:
        raise BadFrame(f"not a message of a member: {error}") from None
    return head
