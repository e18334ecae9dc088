"""Seats of the registry: its connections, the bells of their shards, and the messages that wait for them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from transports.bus.events import MemberInfo
from transports.bus.registry import wire
from transports.bus.registry.descriptors import Descriptor


class Shards(Protocol):
    """Bells of the shards, made as they are needed; a carrier without rings has none."""

    def fds(self) -> list[tuple[int, int]]:
        """Return the descriptors of bell and eventfd of each shard."""
        ...

    def ensure(self, count: int) -> None:
        """Make shards until there are so many."""
        ...

    def adopt(self, fds: Sequence[int]) -> None:
        """Use the shards of an earlier registry; `fds` holds bell and eventfd of each."""
        ...

    def free(self, slot: int) -> None:
        """Clear the place of a member that has gone."""
        ...

    def close(self) -> None:
        """Close all descriptors."""
        ...


class NoShards:
    """Shards of a carrier without bells."""

    def fds(self) -> list[tuple[int, int]]:
        return []

    def ensure(self, count: int) -> None: ...

    def adopt(self, fds: Sequence[int]) -> None: ...

    def free(self, slot: int) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True, eq=False)
class Seat:
    """A connection to the registry, and its member once that has sent Hello."""

    info: MemberInfo | None = None
    endpoints: dict[str, str] = field(default_factory=dict)
    fds: list[Descriptor] = field(default_factory=list)  # page, doorbell, pidfd
    ring: tuple[int, Descriptor] | None = None  # uid, descriptor
    segments: dict[int, Descriptor] = field(default_factory=dict)  # by uid
    reliable: bool = False
    returning: bool = False  # it was on the bus before the registry moved
    welcomed: bool = False  # it has the directory, and gets all changes
    ended: bool = False  # it left: nothing more may come from this connection

    def close(self) -> None:
        """Let go of all descriptors of the member; messages that carry one and wait still hold it."""
        self.ended = True
        self.fds, self.ring, self.segments = [], None, {}


@dataclass(slots=True)
class QueuedAnswer:
    """A message that waits to be sent to one member."""

    seat: Seat
    message: wire.FromRegistry
    fds: Sequence[Descriptor]
    after_changes: bool  # sent only once all changes until now are announced


@dataclass(slots=True)
class GateWait:
    """A request that waits for others: a RELIABLE subscription until every writer waits for its reader, or a writer
    until the members of the registry before are back."""

    seat: Seat
    token: int
    missing: set[Seat | str]  # writers that have not confirmed yet, or ids of members that are not back
    until: float  # on time.monotonic(): members that are stopped confirm, or come, once they go on
