"""Messages between members and the registry.

Each message is a tagged msgpack array behind a header of five bytes (length, number of file descriptors); descriptors
travel beside the bytes as SCM_RIGHTS. A request carries a token, which its answer (`Done` or `RequestRefused`) returns.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Annotated

import msgspec

from transports.bus.errors import BadFrame, TooLarge
from transports.bus.events import MemberInfo
from transports.bus.frames import UNREADABLE

PROTOCOL = 2
HEADER = struct.Struct("<IB")
MESSAGE_LIMIT = 4 * 1024 * 1024
HELLO_LIMIT = 64 * 1024  # bytes of Hello: a connection that is no member yet is worth no more memory
RESTORED_BYTES = 16 * 1024  # bytes of names and patterns in Hello, and in each Restored after it
FDS_LIMIT = 64
SEGMENTS_LIMIT = 2048  # segments of one member, of which the registry keeps the descriptors
LABEL_LIMIT = 255  # characters of every text: so that an answer that quotes it fits a message
REASON_LIMIT = 500  # characters of a reason or of the text of a refusal

_Short = Annotated[str, msgspec.Meta(max_length=LABEL_LIMIT)]


class _Message(msgspec.Struct, array_like=True, tag=True):
    pass


# --- from a member -------------------------------------------------------------------------------------------------
class Hello(_Message):
    """First message of a member. fds with rings: page, doorbell eventfd, pidfd.

    A member that joins again after the registry died adds its id, slot, names and patterns, and bell and eventfd of
    each shard. Names and patterns beyond `RESTORED_BYTES` follow in `Restored`.
    """

    protocol: int
    layout: int
    bus: _Short
    carrier: _Short
    label: _Short
    pid: int
    endpoints: Annotated[dict[_Short, _Short], msgspec.Meta(max_length=8)]
    id: _Short = ""
    slot: int = -1
    names: tuple[_Short, ...] = ()
    patterns: dict[_Short, int] = {}
    reliable: bool = False
    shards: int = 0


class Restored(_Message):
    """Further names and patterns of a member that joins again; names that another member owns by now are left out."""

    names: tuple[_Short, ...] = ()
    patterns: dict[_Short, int] = {}


class Register(_Message):
    """Register these names: all or none."""

    token: int
    names: tuple[_Short, ...]


class Unregister(_Message):
    """Give these names back."""

    token: int
    names: tuple[_Short, ...]


class Subscribed(_Message):
    """New counts of subscriptions by pattern, and whether any is RELIABLE: then Done waits for all writers."""

    token: int
    patterns: dict[_Short, int]
    reliable: bool


class RingMade(_Message):
    """fds: the broadcast ring of this member."""

    uid: int


class LinkTo(_Message):
    """fds: a pair ring to another member. Done carries that member's doorbell, page and pidfd."""

    token: int
    to: _Short
    uid: int


class Unlink(_Message):
    """The pair ring to that member is given back."""

    to: _Short
    uid: int


class SegmentMade(_Message):
    """fds: a segment for large payloads."""

    uid: int


class SegmentGone(_Message):
    """The segment exists no longer."""

    uid: int


class Fetch(_Message):
    """Request for a segment of another member (uid), or for its page (uid 0)."""

    token: int
    owner: _Short
    uid: int


class Gated(_Message):
    """This writer waits for the RELIABLE reader that `GateWanted` named."""

    token: int


class Evict(_Message):
    """This writer no longer waits for `member`."""

    member: _Short
    held: float


class Sync(_Message):
    """Request for Done, after all that was announced before; with `returning`, also after the members of the registry
    before this one are back, but those that are late for long."""

    token: int
    returning: bool = False


class Bye(_Message):
    """The member leaves."""


# --- from the registry ---------------------------------------------------------------------------------------------
class Welcome(_Message):
    """Place of a member that joined. fds: bell and eventfd of each shard, in order."""

    id: str
    slot: int
    host: str  # the member whose process hosts the registry; "" while it is not known
    shards: int


class Changes(_Message):
    """Changes of the directory, oldest first: lost members, joined members, then names and patterns."""

    lost: tuple[tuple[str, str], ...] = ()
    joined: tuple[MemberInfo, ...] = ()
    added: dict[str, tuple[str, ...]] = {}
    removed: dict[str, tuple[str, ...]] = {}
    patterns: dict[str, dict[str, int]] = {}
    endpoints: dict[str, dict[str, str]] = {}


class Ready(_Message):
    """The snapshot of the directory is complete."""


class Shard(_Message):
    """fds: bell and eventfd of a new shard."""

    number: int


class Writers(_Message):
    """fds: the broadcast ring of each of these members (and its uid)."""

    rings: tuple[tuple[str, int], ...]
    fresh: bool  # new rings, to be read from their first record


class Linked(_Message):
    """fds: a pair ring from `member`, its page, its doorbell, its pidfd."""

    member: str
    uid: int


class Unlinked(_Message):
    """`member` gave back its pair ring to the receiver."""

    member: str
    uid: int


class GateWanted(_Message):
    """fds: the page of `member`, which subscribed RELIABLE."""

    token: int
    member: str


class GateLifted(_Message):
    """`member` has no RELIABLE subscription any more."""

    member: str


class EvictionNotice(_Message, tag="Evicted"):
    """`writer` no longer waits for the receiver, a RELIABLE reader."""

    writer: str
    held: float


class Done(_Message):
    """Answer to a request that was granted; fds: what it asked for."""

    token: int


class RequestRefused(_Message, tag="Refused"):
    """Answer to a request that was refused; with token 0, to Hello."""

    token: int
    code: str
    text: str
    member: str = ""


FromMember = (
    Hello
    | Restored
    | Register
    | Unregister
    | Subscribed
    | RingMade
    | LinkTo
    | Unlink
    | SegmentMade
    | SegmentGone
    | Fetch
    | Gated
    | Evict
    | Sync
    | Bye
)
FromRegistry = (
    Welcome
    | Changes
    | Ready
    | Shard
    | Writers
    | Linked
    | Unlinked
    | GateWanted
    | GateLifted
    | EvictionNotice
    | Done
    | RequestRefused
)

_encode = msgspec.msgpack.Encoder().encode
_from_member = msgspec.msgpack.Decoder(FromMember).decode
_from_registry = msgspec.msgpack.Decoder(FromRegistry).decode


def pack(message: FromMember | FromRegistry, fds: int = 0) -> bytes:
    """Encode a message that goes with so many descriptors, or raise TooLarge."""
    body = _encode(message)
    if len(body) > MESSAGE_LIMIT:
        raise TooLarge(f"a registry message of {len(body)} bytes: the limit is {MESSAGE_LIMIT}")
    return HEADER.pack(len(body), fds) + body


def restored(names: Iterable[str], patterns: Mapping[str, int]) -> Iterator[Restored]:
    """Yield names and patterns in messages of about `RESTORED_BYTES`: at least one, which may be empty."""
    part_names: list[str] = []
    part_patterns: dict[str, int] = {}
    size = 0
    for text, count in chain(((name, -1) for name in names), patterns.items()):
        if count < 0:
            part_names.append(text)
        else:
            part_patterns[text] = count
        size += len(text.encode()) + 12
        if size >= RESTORED_BYTES:
            yield Restored(tuple(part_names), part_patterns)
            part_names, part_patterns, size = [], {}, 0
    yield Restored(tuple(part_names), part_patterns)


def bodies(packed: bytes) -> Iterator[bytes]:
    """Yield the bodies of messages that lie behind each other."""
    while packed:
        if len(packed) < HEADER.size:
            raise BadFrame("half a header")
        end = HEADER.size + HEADER.unpack_from(packed)[0]
        if len(packed) < end:
            raise BadFrame("half a message")
        yield packed[HEADER.size : end]
        packed = packed[end:]


def from_member(body: bytes) -> FromMember:
    """Decode a message of a member, or raise BadFrame."""
    try:
        message: FromMember = _from_member(body)
    except UNREADABLE as error:
        raise BadFrame(f"not a message of a member: {error}") from None
    return message


def from_registry(body: bytes) -> FromRegistry:
    """Decode a message of the registry, or raise BadFrame."""
    try:
        message: FromRegistry = _from_registry(body)
    except UNREADABLE as error:
        raise BadFrame(f"not a message of a registry: {error}") from None
    return message
