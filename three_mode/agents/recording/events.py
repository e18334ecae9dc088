"""Events of a recording, and their format in a file. No I/O.

    file     MAGIC, then records until the end
    record   length (4 bytes, little endian), then that many bytes of msgpack: one of the events below

Each record is written by one append, so that all processes of a run share a file, in the order of their writes. A
record cut off by a crash at the end of the file is left out.
"""

from collections.abc import Iterator

import msgspec

from three_mode.agents.wire.importing import ClassPath

MAGIC = b"three-mode recording 1\n"
LONGEST = 256 * 1024 * 1024


class Made(msgspec.Struct, frozen=True, tag="made", array_like=True):
    """An agent was made, or restarted."""

    agent: str
    when: float
    target: ClassPath
    init: bytes
    seed: int


class Got(msgspec.Struct, frozen=True, tag="got", array_like=True):
    """An agent began with a message. `turn` is the message's number at this agent."""

    agent: str
    when: float
    turn: int
    handler: str
    call: bytes
    heard: bool
    """Whether it was a broadcast: `call` is the message itself, not a list of arguments."""
    streams: bool
    sender: str


class Did(msgspec.Struct, frozen=True, tag="did", array_like=True):
    """An effect of an agent while it handled a message: a replay expects `what` again, and answers with `result`."""

    agent: str
    when: float
    turn: int
    kind: str
    """ask, tell, broadcast, settled, gather, group, stream, part, now, llm."""
    what: bytes
    result: bytes
    good: bool
    """False: `result` is an encoded error, or empty where the wait for it was cancelled."""


class Ended(msgspec.Struct, frozen=True, tag="ended", array_like=True):
    """An agent ended a message, or a part of its answer. `outcome`: result, part, error, cancel, cancelled.

    `cancel`: the caller cancelled, or the agent was stopped; the handler ends from then on, and then is `cancelled`.
    """

    agent: str
    when: float
    turn: int
    outcome: str
    content: bytes


Event = Made | Got | Did | Ended
_decode = msgspec.msgpack.Decoder(Event).decode
_encode = msgspec.msgpack.Encoder().encode


def pack(event: Event) -> bytes:
    """Encode an event as a record."""
    body = _encode(event)
    return len(body).to_bytes(4, "little") + body


def unpack(data: bytes) -> Iterator[Event]:
    """Yield the events of a file; ValueError if it is no recording."""
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
