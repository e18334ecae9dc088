"""What a recording holds, and how it lies in a file. No I/O.

    file     MAGIC, then records until the end
    record   length (4 bytes, little endian), then that many bytes of msgpack: one of the events below

Each record is written by one append, so that all processes of a run share a file; the order is that of the writes. A record cut off
by a crash at the end of the file is left out.
"""

from collections.abc import Iterator

import msgspec

from three_mode.agents.wire.importing import ClassPath

MAGIC = b"three-mode recording 1\n"
LONGEST = 256 * 1024 * 1024


class Made(msgspec.Struct, frozen=True, tag="made", array_like=True):
    """An agent was made, or made anew."""

    agent: str
    when: float
    target: ClassPath
    init: bytes
    seed: int


class Got(msgspec.Struct, frozen=True, tag="got", array_like=True):
    """It began with a message. `turn` is its number at this agent."""

    agent: str
    when: float
    turn: int
    handler: str
    call: bytes
    heard: bool
    """It was a broadcast: `call` is the message itself, not a list of arguments."""
    streams: bool
    sender: str


class Did(msgspec.Struct, frozen=True, tag="did", array_like=True):
    """What it did while handling a message, and what came of it: `what` must come again, `result` is given again."""

    agent: str
    when: float
    turn: int
    kind: str
    """ask, tell, broadcast, settled, gather, group, stream, part, now, llm."""
    what: bytes
    result: bytes
    good: bool
    """False: `result` is an encoded error, or empty: whoever waited for it was cancelled."""


class Ended(msgspec.Struct, frozen=True, tag="ended", array_like=True):
    """It was done with a message. `outcome` is one of result, part, error, cancel, cancelled.

    A cancel is the caller's, or of whoever stopped the agent: what it does from then on is to end."""

    agent: str
    when: float
    turn: int
    outcome: str
    content: bytes


Event = Made | Got | Did | Ended
_decode = msgspec.msgpack.Decoder(Event).decode
_encode = msgspec.msgpack.Encoder().encode


def pack(event: Event) -> bytes:
    body = _encode(event)
    return len(body).to_bytes(4, "little") + body


def unpack(data: bytes) -> Iterator[Event]:
    """The events of a file. What is no recording is a ValueError."""
    if not data.startswith(MAGIC):
        raise ValueError("this is no recording")
    place = len(MAGIC)
    while place + 4 <= len(data):
        length = int.from_bytes(data[place : place + 4], "little")
        if length > LONGEST:
            raise ValueError(f"a record of {length} bytes at {place} cannot be")
        if place + 4 + length > len(data):
            return  # cut off while it was written
        try:
            yield _decode(data[place + 4 : place + 4 + length])
        except msgspec.MsgspecError as error:
            raise ValueError(f"the record at {place} cannot be read: {error}") from None
        place += 4 + length
