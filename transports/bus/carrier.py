"""What a carrier is: the part of the bus that moves frames. Rings, ZeroMQ and memory all implement it, and one contract
suite holds them to the same behaviour.

A carrier is driven by one event loop and calls its sink from it. It owns the connection to the registry.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from transports.bus.directory import Directory
from transports.bus.events import MemberInfo
from transports.bus.receipt import Settled

# What a drained record is: (flags, peer, seq, route, topic or None, envelope, body). Flags: DATA, perhaps with BINARY.
DATA = 2
REFERENCE = 4
BINARY = 8


class Peer:
    """Another member (or this one) as the carrier sees it; handed back with everything that came from it."""

    __slots__ = ("id", "info")

    def __init__(self, info: MemberInfo) -> None:
        self.id = info.id
        self.info = info


class Record(tuple[int, Peer, int, Any, str | None, bytes, bytes]):
    """(flags, peer, seq, route, topic, envelope, body)"""

    __slots__ = ()


class Sink(Protocol):
    """What a carrier tells the bus."""

    routes: dict[str, Any]  # topic -> route; None: nobody here wants it. The carrier looks up, the bus fills in.

    def deliver(self, records: Sequence[Any]) -> None: ...

    def gap(self, peer: Peer, first: int, last: int) -> None: ...

    def evicted(self, writer: str, held_seconds: float) -> None: ...

    def writer_gone(self, peer: Peer) -> None: ...

    def writable(self, member: str) -> None: ...

    def directory_changed(self, changes: Sequence[Any]) -> None: ...

    def failed(self, where: str, error: BaseException) -> None: ...

    def closed(self, error: BaseException) -> None: ...


class Carrier(Protocol):
    name: str
    id: str  # this member's
    directory: Directory
    shares_clock: bool  # whether time.monotonic() means the same at all members

    async def start(self, sink: Sink) -> None: ...

    async def close(self, within: float) -> None: ...

    def publish(self, topic: str, envelope: bytes, body: bytes, flags: int) -> int:
        """The message's number, or 0 if a RELIABLE reader holds it up."""
        ...

    def publishable(self) -> "Any":
        """A future that is done when publishing may go on; raises when it cannot."""
        ...

    def send(self, member: str, envelope: bytes, body: bytes, flags: int) -> bool:
        """False: no room for now; `Sink.writable` will say when to try again. PeerLost if it has gone."""
        ...

    def pump_soon(self) -> None:
        """Something for this process itself is waiting."""
        ...

    async def register(self, names: Sequence[str]) -> None: ...

    async def unregister(self, names: Sequence[str]) -> None: ...

    async def subscribed(self, patterns: dict[str, int], reliable: bool) -> None:
        """Tell the others how many subscriptions there are for each pattern; returns when publishers respect them."""
        ...

    def replay(self) -> list[Any]:
        """What writers still hold from before this member's position."""
        ...

    async def settled(self, seq: int, topic: str, within: float) -> Settled: ...

    def counters(self) -> dict[str, int]: ...

    def readers(self) -> list[Any]: ...
