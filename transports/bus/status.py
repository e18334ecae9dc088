"""The state of a member, for people and programs."""

import msgspec

from transports.bus.carrier import ReaderStatus


class BusStatus(msgspec.Struct, frozen=True):
    """The state of one member: who it is, what waits, and what was counted."""

    bus: str
    member: str
    label: str
    carrier: str
    why: str  # why this carrier
    members: int
    names: int
    subscriptions: int
    pending_calls: int
    open_requests: int
    outbox_messages: int
    outbox_bytes: int
    counters: dict[str, int]
    readers: tuple[ReaderStatus, ...] = ()

    @property
    def slowest(self) -> ReaderStatus | None:
        """The reader that is furthest behind, if any is."""
        behind = [reader for reader in self.readers if reader.lag]
        return max(behind, key=lambda reader: reader.lag) if behind else None
