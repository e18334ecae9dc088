"""Status of a member of a bus: one snapshot of its counters, queues and readers, for people and programs."""

import msgspec

from transports.bus.carrier import Carrier, ReaderStatus
from transports.bus.sink import BusSink


class BusStatus(msgspec.Struct, frozen=True):
    """Snapshot of one member, from what its process knows."""

    bus: str
    """Name of the bus."""
    member: str
    """Id of this member."""
    label: str
    """Label of this member, for people."""
    carrier: str
    """Name of the carrier: "rings" or "zmq"."""
    why: str
    """Reason for choosing this carrier."""
    members: int
    """Members of the bus, this one included."""
    names: int
    """Names that are registered on the bus."""
    subscriptions: int
    """Subscriptions of this member."""
    pending_calls: int
    """Calls of this member that have no reply yet."""
    open_requests: int
    """Requests to this member that it has not answered yet."""
    outbox_messages: int
    """Messages that wait for room, to members and to RELIABLE subscribers."""
    outbox_bytes: int
    """Bytes of these messages."""
    counters: dict[str, int]
    """Counters since the member joined; which ones there are depends on the carrier."""
    readers: tuple[ReaderStatus, ...] = ()
    """Subscribers of this member's messages; only `status_of_readers()` fills it in."""

    @property
    def slowest(self) -> ReaderStatus | None:
        """The reader that is furthest behind, or None if none is behind."""
        behind = [reader for reader in self.readers if reader.lag]
        return max(behind, key=lambda reader: reader.lag) if behind else None


def take_status(bus: str, label: str, why: str, carrier: Carrier, sink: BusSink) -> BusStatus:
    """Take a snapshot of a member from its parts."""
    return BusStatus(
        bus=bus,
        member=carrier.id,
        label=label,
        carrier=carrier.name,
        why=why,
        members=len(carrier.directory.members),
        names=len(carrier.directory.names),
        subscriptions=sink.subscriptions.count,
        pending_calls=sink.calls.pending,
        open_requests=sink.serving.open,
        outbox_messages=sink.sending.messages + len(sink.publications.waiting),
        outbox_bytes=sink.sending.bytes + sink.publications.bytes,
        counters={
            **carrier.counters(),
            "calls": sink.calls.made,
            "stray_answers": sink.calls.strays,
            "served": sink.serving.served,
            "late_answers": sink.serving.late,
            "gaps_told": sink.gaps,
        },
    )
