"""Carrier: the part of the bus that moves frames. Rings and ZeroMQ implement it; one contract suite tests both.

A carrier belongs to one event loop and calls its sink from that loop. It also keeps the connection to the registry.
"""

import asyncio
from collections.abc import Callable, Sequence, Sized
from typing import Any, Protocol

import msgspec

from transports.bus.directory import Directory
from transports.bus.errors import BusError
from transports.bus.events import DirectoryChange, MemberInfo
from transports.bus.messages import Message
from transports.bus.pubsub.delivery import Delivery
from transports.bus.receipt import Settled

DATA = 2  # flag of every message that a sink sees; BINARY may stand beside it


class Peer:
    """A member as the carrier knows it. Every message and event from that member refers to it."""

    __slots__ = ("id", "info")

    def __init__(self, info: MemberInfo) -> None:
        self.id = info.id
        self.info = info


class ReaderStatus(msgspec.Struct, frozen=True):
    """Progress of one member in reading what this member published."""

    member: str
    """Id of the reading member."""
    label: str
    """Label of the reading member."""
    lag: int
    """Messages that it has not read yet."""
    lost: int
    """Messages that it lost, in total."""
    gaps: int
    """Gaps that it saw, in total."""


Put = Callable[[bytes, bytes, bytes, int], int]
"""(topic, envelope, body, flags) -> the message's number, or 0 without room."""


class ShortWay(Protocol):
    """One step from the payload of a small message to its receipt; the native writer offers it."""

    def publishes(
        self,
        encode_into: Callable[[Any, bytearray], None],
        receipt: type[Any],
        encoded: type[Any],
        small: int,
        topics: dict[Any, tuple[bytes, bytes]],
        waiting: Sized,
        /,
    ) -> None:
        """Set what `publish` works with.

        `encode_into(payload, bytearray)` encodes; `receipt(publisher, name, number, when)` makes the result; an
        `encoded` payload has its msgpack in `raw`; a body of more than `small` bytes is declined; `topics` holds the
        topic's bytes and its envelope, by name or by name and sender; nothing is published while anything is `waiting`.
        """
        ...

    def publish(self, publisher: object, name: str, payload: Any, sender: str, envelope: bytes | None, /) -> Any:
        """Publish and return a receipt; or decline, and return the payload's msgpack, or None if it was not encoded."""
        ...


class Sink(Protocol):
    """Receiver of a carrier's reports. Messages go to `delivery`.

    `delivery.routes` maps a topic to its callbacks in this process. The carrier looks topics up, the bus fills them in;
    None means that nothing here subscribes to the topic, so that none of the message need be copied.
    """

    delivery: Delivery

    def gap(self, peer: Peer, first: int, last: int) -> None:
        """Messages `first` to `last` of `peer` are lost."""
        ...

    def evicted(self, writer: str, held_seconds: float) -> None:
        """Member `writer` no longer waits for this RELIABLE reader."""
        ...

    def writer_gone(self, peer: Peer) -> None:
        """A member that had published has left or died."""
        ...

    def writable(self, member: str) -> None:
        """There is room again for frames to `member`."""
        ...

    def publishable(self) -> None:
        """There may be room again for publications."""
        ...

    def publish_by(self, way: ShortWay) -> None:
        """Small messages may from now on be published by `way`, which is `Carrier.publish` without its surroundings."""
        ...

    def way_to(self, member: str, put: "Put | None") -> None:
        """Small frames to `member` may from now on go to `put`, which is `Carrier.send` without its surroundings.

        None: they may no longer.
        """
        ...

    def unsendable(self, member: str, error: Exception) -> None:
        """Nothing can be sent to `member`."""
        ...

    def directory_changed(self, changes: Sequence[DirectoryChange]) -> None:
        """Members or names have appeared or gone."""
        ...

    def undelivered(self, message: Message, error: BusError) -> None:
        """A direct message came without its payload, which could not be read."""
        ...

    def failed(self, where: str, error: BaseException) -> None:
        """An error that has no caller to raise it to."""
        ...


class Carrier(Protocol):
    """Moves frames between the members of a bus."""

    name: str
    """Name of the kind of carrier: "rings" or "zmq"."""
    id: str
    """Id of this member."""
    directory: Directory
    """Members, names and subscriptions of the bus."""
    shares_clock: bool
    """Whether time.monotonic() means the same to all members."""
    handing_over: "asyncio.Future[int] | None"
    """Done, with 0, once no member can miss what was published so far if this one is killed; None: it is so now."""

    async def start(self) -> None:
        """Join the bus."""
        ...

    async def close(self, within: float) -> None:
        """Leave the bus, in at most about `within` seconds."""
        ...

    def forked(self) -> None:
        """Close, in the child of a fork, what would keep the parent's connections open."""
        ...

    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        """Publish and return the message's number.

        0: a RELIABLE reader holds it up, and `Sink.publishable` says when to try again.
        """
        ...

    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        """Send to one member; PeerLost if it has gone.

        False: there is no room now, and `Sink.writable` says when to try again.
        """
        ...

    async def register(self, names: Sequence[str]) -> None:
        """Register names of this member: all or none."""
        ...

    async def unregister(self, names: Sequence[str]) -> None:
        """Give names back."""
        ...

    def withdraw(self, names: Sequence[str]) -> None:
        """Give names back that may have been registered, without waiting."""
        ...

    def listen(self, on: bool) -> None:
        """Start or stop reading broadcasts: on while this member subscribes to anything."""
        ...

    def hold(self, on: bool) -> None:
        """Leave broadcasts unread for now: a RELIABLE listener of this member is full."""
        ...

    async def catch_up(self) -> None:
        """Wait until all that was published before this call has been delivered to this member."""
        ...

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """Announce the number of subscriptions of each pattern that changed.

        With `reliable`, wait until all writers wait for this member.
        """
        ...

    def unsubscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """Announce the same without waiting, for subscriptions that could not start."""
        ...

    async def replay(self) -> list[Message]:
        """Return earlier messages that their writers still hold."""
        ...

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        """Ask how far message `seq` got, for at most `within` seconds."""
        ...

    def counters(self) -> dict[str, int]:
        """Return the carrier's counters, by name."""
        ...

    async def readers(self) -> list[ReaderStatus]:
        """Return how far each subscribed member is behind."""
        ...

    async def spins(self) -> dict[str, float]:
        """Return the seconds of `BusOptions.spin` of each member that has any."""
        ...
