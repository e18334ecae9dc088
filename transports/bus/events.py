"""What the bus tells its users besides messages. All are values; all encode to msgpack and JSON."""

import msgspec


class Gap(msgspec.Struct, frozen=True, tag=True):
    """Messages `first` to `last` of one writer were not delivered to this subscriber: it was lapped, or they were evicted."""

    writer: str
    first: int
    last: int
    count: int


class WriterGone(msgspec.Struct, frozen=True, tag=True):
    """A writer died or left; everything it had published before was delivered first."""

    writer: str
    label: str


class Evicted(msgspec.Struct, frozen=True, tag=True):
    """This RELIABLE subscriber held up `writer` past the deadline and is now LOSSY for it. A Gap follows if it missed any."""

    writer: str
    held_seconds: float


class MemberInfo(msgspec.Struct, frozen=True):
    """A process on the bus."""

    id: str
    label: str
    pid: int
    slot: int


class MemberJoined(msgspec.Struct, frozen=True, tag=True):
    """A process joined the bus."""

    member: MemberInfo


class MemberLost(msgspec.Struct, frozen=True, tag=True):
    """A member died (`reason` says how that was seen) or left ("left")."""

    member: MemberInfo
    reason: str


class NamesChanged(msgspec.Struct, frozen=True, tag=True):
    """Names that appeared at or went from one member."""

    member: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


InBand = Gap | WriterGone | Evicted  #: What a subscriber hears in order with its messages.
DirectoryChange = MemberJoined | MemberLost | NamesChanged  #: What a watch of the bus hears.
