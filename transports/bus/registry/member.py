"""Member: the carrier, as the registry's side of it sees it."""

from collections.abc import Sequence
from typing import Protocol

from transports.bus.directory import Directory
from transports.bus.events import DirectoryChange
from transports.bus.registry.seats import Shards


class Member(Protocol):
    """The carrier, as membership needs it. Without rings, methods about rings do nothing or raise BadFrame."""

    id: str
    """Id of this member; "" until it has joined."""
    name: str
    """Name of the carrier."""
    layout: int
    """Version of the memory layout; 0 without one."""
    directory: Directory
    """Copy of the directory."""
    endpoints: dict[str, str]
    """Endpoints at which ZeroMQ reaches this member."""

    def make_shards(self) -> Shards:
        """Make the bells for the registry that this process is about to host."""
        ...

    def connect(self, member: str, endpoints: dict[str, str]) -> None:
        """Connect to the endpoints of a member."""
        ...

    def hello_fds(self) -> list[int]:
        """Return the descriptors that go with Hello: page, doorbell, pidfd."""
        ...

    def shard_fds(self) -> list[int]:
        """Return bell and eventfd of each shard."""
        ...

    def welcomed(self, member: str, slot: int, shards: list[int]) -> None:
        """Take the place that the registry gave, and the descriptors of the shards."""
        ...

    def add_shard(self, bell_fd: int, event_fd: int) -> None:
        """Take the descriptors of a new shard."""
        ...

    def announce_again(self) -> None:
        """Tell a new registry of this member's ring and segments."""
        ...

    def member_lost(self, member: str, reason: str) -> None:
        """Let go of a member."""
        ...

    def read_ring(self, member: str, uid: int, fresh: bool, fd: int) -> None:
        """Read the broadcast ring of a member; `fresh`: from its first record."""
        ...

    def read_pair(self, member: str, uid: int, fds: list[int]) -> None:
        """Read the ring from a member to this one; fds: ring, page, doorbell, pidfd."""
        ...

    def pair_given_back(self, member: str, uid: int) -> None:
        """Read no further in the ring from a member, which gave it back."""
        ...

    def gate(self, member: str, page_fd: int) -> None:
        """Wait for a RELIABLE reader from now on."""
        ...

    def ungate(self, member: str) -> None:
        """No longer wait for a reader."""
        ...

    def evicted_by(self, writer: str, held: float) -> None:
        """Note that a writer no longer waits for this member."""
        ...

    def failed(self, where: str, error: BaseException) -> None:
        """Report an error that has no caller."""
        ...

    def changed(self, changes: Sequence[DirectoryChange]) -> None:
        """Report changes of the directory."""
        ...
