"""What members say to each other over ZeroMQ beside the frames themselves. Each is the first part of a message."""

import msgspec

from transports.bus.errors import BadFrame
from transports.bus.frames import UNREADABLE


class _Head(msgspec.Struct, array_like=True, tag=True, gc=False):
    sender: str


class Direct(_Head):
    """A direct frame; envelope and body follow."""

    flags: int


class Broadcast(_Head):
    """A published message; topic first, envelope and body follow."""

    seq: int
    flags: int


class Tick(_Head):
    """On PUB: I have published up to `seq`. With a token: an answer to Probe, to show that the way is open."""

    seq: int
    token: int


class Probe(_Head):
    token: int


class Want(_Head):
    """Send these again."""

    first: int
    last: int


class Repair(_Head):
    """A message again; topic, envelope and body follow."""

    seq: int
    flags: int


class NoLongerHeld(_Head, tag="Gone"):
    """Messages up to `last` are no longer held."""

    last: int


class Ack(_Head):
    """A RELIABLE reader has handled up to `seq`."""

    seq: int


class Query(_Head):
    """Say when you have handled `seq`, or that it is lost."""

    token: int
    seq: int


class QueryAnswer(_Head, tag="Answer"):
    token: int
    verdict: str


class WantPast(_Head):
    """What you still hold from before `before` (0: all)."""

    token: int
    before: int


class Past(_Head):
    """One of it; topic, envelope and body follow. Answer ends it."""

    token: int
    seq: int
    flags: int


class StateQuery(_Head, tag="State"):
    """How far are you with my messages? Answered by StateIs."""

    token: int


class StateIs(_Head):
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
    try:
        head: Head = _decode(raw)
    except UNREADABLE as error:
        raise BadFrame(f"not a message of a member: {error}") from None
    return head
