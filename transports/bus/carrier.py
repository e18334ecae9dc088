"""What a carrier is: the part of the bus that moves frames. Rings, ZeroMQ and memory all implement it, and one contract
suite holds them to the same behaviour.

A carrier belongs to one event loop and calls its sink from it. It also keeps the connection to the registry.
"""

from collections.abc import Callable, Sequence, Sized
from typing import Any, Protocol

import msgspec

from transports.bus.directory import Directory
from transports.bus.events import DirectoryChange, MemberInfo
from transports.bus.messages import Message
from transports.bus.pubsub.delivery import Delivery
from transports.bus.receipt import Settled

DATA = 2  # the flag of a message that the sink sees; with it, perhaps, BINARY


class Peer:
    """A member as the carrier sees it; handed back with everything that came from it."""

    __slots__ = ("id", "info")

    def __init__(self, info: MemberInfo) -> None:
        self.id = info.id
        self.info = info


class ReaderStatus(msgspec.Struct, frozen=True):
    """How far a member is behind what this member published."""

    member: str
    label: str
    lag: int  # messages
    lost: int
    gaps: int


# (topic, envelope, body, flags) -> 0 where there is no room
Put = Callable[[bytes, bytes, bytes, int], int]


class ShortWay(Protocol):
    """From a payload to its receipt in one step, for what is small and usual; all else is left to the long way."""

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
        """`encode_into(payload, bytearray)`, `receipt(publisher, name, number, when)`; an `encoded` has its msgpack in `raw`;
        `topics` has what is known of a name, or of a name and a sender; nothing overtakes what is `waiting`."""
        ...

    def publish(self, publisher: object, name: str, payload: Any, sender: str, envelope: bytes | None, /) -> Any:
        """A receipt; or nothing was done, and this is the payload's msgpack, or None if it was not encoded either."""
        ...


class Sink(Protocol):
    """What a carrier tells the bus. Messages go to `delivery`; its `routes` map a topic to whoever wants it here: the carrier
    looks up, the bus fills in; None means that nobody does, and that nothing of the message need be copied."""

    delivery: Delivery

    def gap(self, peer: Peer, first: int, last: int) -> None: ...

    def evicted(self, writer: str, held_seconds: float) -> None: ...

    def writer_gone(self, peer: Peer) -> None: ...

    def writable(self, member: str) -> None: ...

    def publishable(self) -> None: ...

    def publish_by(self, way: ShortWay) -> None:
        """From now on what is small may go this way, which is `Carrier.publish` without its surroundings."""
        ...

    def way_to(self, member: str, put: "Put | None") -> None:
        """From now on what is small may go straight to `put`, which is `Carrier.send` without its surroundings; None: no more."""
        ...

    def unsendable(self, member: str, error: Exception) -> None: ...

    def directory_changed(self, changes: Sequence[DirectoryChange]) -> None: ...

    def failed(self, where: str, error: BaseException) -> None: ...


class Carrier(Protocol):
    name: str
    id: str  # this member's
    directory: Directory
    shares_clock: bool  # whether time.monotonic() means the same to all members

    async def start(self) -> None: ...

    async def close(self, within: float) -> None: ...

    def publish(self, topic: bytes, envelope: bytes, body: bytes, flags: int) -> int:
        """The message's number. 0: a RELIABLE reader holds it up, and `Sink.publishable` says when to try again."""
        ...

    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        """False: no room for now, and `Sink.writable` says when to try again. PeerLost if the member has gone."""
        ...

    async def register(self, names: Sequence[str]) -> None: ...

    async def unregister(self, names: Sequence[str]) -> None: ...

    def withdraw(self, names: Sequence[str]) -> None:
        """They may have been registered, though nobody waited until they were: take them back, without waiting."""
        ...

    def listen(self, on: bool) -> None:
        """Whether anybody here subscribes at all."""
        ...

    def hold(self, on: bool) -> None:
        """Leave broadcasts where they are for now: a RELIABLE listener here is full."""
        ...

    async def catch_up(self) -> None:
        """Returns when all that was published before this call has been delivered here."""
        ...

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """Tell everybody how many subscriptions there are for each pattern (changes only). With `reliable`, returns when
        all writers wait for this member."""
        ...

    def unsubscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """The same without waiting, for what could not be begun."""
        ...

    async def replay(self) -> list[Message]:
        """What the writers still hold from before."""
        ...

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled: ...

    def counters(self) -> dict[str, int]: ...

    async def readers(self) -> list[ReaderStatus]: ...
