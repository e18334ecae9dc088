"""Events of a recording, and their format in a file. No I/O.

    file     MAGIC, then END_SLOT bytes, then records until the end
    slot     zeros; or a record of RecordingEnd: what comes behind its `at` is no part of the recording
    record   length (4 bytes, little endian), then that many bytes of msgpack: one of the events below

Each record is written by one append, so that all processes of a run share a file, in the order of their writes. A
record cut off by a crash at the end of the file is left out. The slot is there from the beginning, so that a process
that cannot write a record, because the disk is full, can still say where the recording ends. Version 1 has no slot.
"""

from collections.abc import Iterator

import msgspec

from three_mode.agents.wire.importing import ClassPath

MAGIC = b"three-mode recording 2\n"
_MAGIC_1 = b"three-mode recording 1\n"
END_SLOT = 232  # bytes, so that a length in it is less than 256
HEAD = MAGIC + bytes(END_SLOT)  #: how a file begins
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


class RecordingEnd(msgspec.Struct, frozen=True, array_like=True):
    """The recording ends before the run does."""

    when: float
    at: int
    """Bytes of the file that belong to it."""
    why: str


Event = Made | Got | Did | Ended
_decode = msgspec.msgpack.Decoder(Event).decode
_decode_end = msgspec.msgpack.Decoder(RecordingEnd).decode
_encode = msgspec.msgpack.Encoder().encode


def pack(event: Event) -> bytes:
    """Encode an event as a record."""
    return _record(_encode(event))


def _record(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


def pack_end(end: RecordingEnd) -> bytes:
    """Encode the end of a recording for its slot."""
    while len(slot := _record(_encode(end))) > END_SLOT:
        end = msgspec.structs.replace(end, why=end.why[: len(end.why) // 2])
    return slot


def unpack_end(data: bytes) -> RecordingEnd | None:
    """Decode the slot of a file; None where the recording has all of its run. ValueError if it is no recording."""
    if data.startswith(_MAGIC_1):
        return None
    if not data.startswith(MAGIC) or len(data) < len(HEAD):
        raise ValueError("this is no recording")
    length = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 4], "little")
    if length == 0:
        return None
    try:
        return _decode_end(data[len(MAGIC) + 4 : len(MAGIC) + 4 + min(length, END_SLOT)])
    except msgspec.MsgspecError as error:
        raise ValueError(f"its end cannot be read: {error}") from None


def first_record(data: bytes) -> int:
    """Return the place of the first record in a file that begins like this."""
    return len(_MAGIC_1) if data.startswith(_MAGIC_1) else len(HEAD)


def unpack(data: bytes) -> Iterator[Event]:
    """Yield the events of a file; ValueError if it is no recording."""
    end = unpack_end(data)
    place = first_record(data)
    if end is not None:
        data = data[: end.at]
    while place + 4 <= len(data):
        length = int.from_bytes(data[place : place + 4], "little")
        if length > LONGEST:
            raise ValueError(f"a record of {length} bytes at {place} cannot be")
        if place + 4 + length > len(data):
            return  # cut off while it was written
        yield unpack_body(data[place + 4 : place + 4 + length], place)
        place += 4 + length


def unpack_body(body: bytes, place: int) -> Event:
    """Decode the record at a place, without its length; ValueError if it is none."""
    try:
        event: Event = _decode(body)
        return event
    except msgspec.MsgspecError as error:
        raise ValueError(f"the record at {place} cannot be read: {error}") from None
