"""Events: reports of a bus to its users, beside messages. All are values that encode to msgpack and JSON."""

import msgspec


class Gap(msgspec.Struct, frozen=True, tag=True):
    """Messages `first` to `last` of one writer were not delivered: the subscriber was lapped, or they were evicted."""

    writer: str
    """Id of the writing member."""
    first: int
    """Number of the first message of the gap."""
    last: int
    """Number of its last message."""
    count: int
    """Messages that were not delivered."""


class WriterGone(msgspec.Struct, frozen=True, tag=True):
    """A writer died or left. All that it had published before was delivered first."""

    writer: str
    """Id of the writing member."""
    label: str
    """Its label."""


class Evicted(msgspec.Struct, frozen=True, tag=True):
    """This RELIABLE subscriber held up a writer past the deadline, and is LOSSY for that writer from now on.

    A Gap follows if the subscriber missed any message.
    """

    writer: str
    """Id of the writing member."""
    held_seconds: float
    """How long it was held up."""


class MemberInfo(msgspec.Struct, frozen=True):
    """A member of the bus: a process that joined it."""

    id: str
    """Id of the member, such as "@1f2e3d4c"."""
    label: str
    """Name for people, from `BusOptions.label`."""
    pid: int
    """Process id."""
    slot: int
    """Number of its place among the members; the place of a member that left is used again."""


class MemberJoined(msgspec.Struct, frozen=True, tag=True):
    """A member joined."""

    member: MemberInfo


class MemberLost(msgspec.Struct, frozen=True, tag=True):
    """A member left (`reason` is "left") or died (`reason` says how that was noticed)."""

    member: MemberInfo
    reason: str


class NamesChanged(msgspec.Struct, frozen=True, tag=True):
    """One member registered names, or gave names back."""

    member: str
    """Id of the member."""
    added: tuple[str, ...] = ()
    """Names that are registered now."""
    removed: tuple[str, ...] = ()
    """Names that no longer are."""


InBand = Gap | WriterGone | Evicted
"""An event in order with the messages of a subscription."""
DirectoryChange = MemberJoined | MemberLost | NamesChanged
"""An event of members and names, for `Bus.watch`."""
