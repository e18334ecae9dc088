"""Frames on their way out: to another member now or as soon as there is room, to this one at the next turn of the loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, cast

from transports.bus.asking.outbox import Outbox
from transports.bus.carrier import DATA, Carrier, Peer, Put
from transports.bus.errors import BusError, Overloaded
from transports.bus.messages import Message
from transports.bus.options import BusOptions

_AT_ONCE = cast("Generator[Any, None, None]", iter(()))  # what is awaited where there is nothing to wait for


class Sent:
    """A message that was handed over. `await sent`: until it is in the other side's ring."""

    __slots__ = ("_future",)

    def __init__(self, future: "asyncio.Future[None] | None") -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, None]:
        return _AT_ONCE if self._future is None else asyncio.shield(self._future).__await__()


SENT = Sent(None)
"""One that is there already: the same for all messages."""


class Sending:
    """`arrived(message)` is called for what this process sends to itself."""

    def __init__(self, options: BusOptions, arrived: Callable[[Message], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit, self._drain_records = options.outbox_bytes, options.drain_records
        self._small = min(options.inline_bytes, options.payload_limit)
        self._arrived = arrived
        self._outboxes: dict[str, Outbox] = {}
        self._puts: dict[str, Put] = {}
        self.ways: dict[str, Put] = {}
        """Straight into the ring of a member for which nothing waits; what finds no room there, or is large, goes another way."""
        # Held by another thread from finding a way to the end of its put, and here while a way goes: what a ring is made of is
        # closed behind it. Our own puts need none: a put keeps the interpreter to itself from its beginning to its end.
        self._going = threading.Lock()
        self._here: deque[tuple[bytes, bytes, int]] = deque()
        self._here_bytes = 0
        self._carrier: Carrier
        self._me: Peer

    def joined(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._me = Peer(carrier.directory.members[carrier.id])

    def send(
        self, member: str, envelope: bytes, body: bytes, flags: int, wanted: bool = False
    ) -> "asyncio.Future[None] | None":
        """Hand a frame over, now or as soon as there is room; a future for the latter, if `wanted`."""
        put = self.ways.get(member)
        if put is not None and len(body) <= self._small and put(b"", envelope, body, flags):
            return None
        if member == self._carrier.id:
            self._send_here(envelope, body, flags)
            return None
        outbox = self._outboxes.get(member)
        if outbox is None:
            if self._carrier.send(member, envelope, body, flags):
                return None
            outbox = self._outboxes[member] = Outbox()
            self.ways.pop(member, None)  # nothing overtakes what waits
        future: asyncio.Future[None] | None = self._loop.create_future() if wanted else None
        outbox.append(member, self._limit, (envelope, body, flags, future))
        return future

    def at_once(self, member: str, envelope: bytes, body: bytes) -> bool:
        """From any thread. False: not sent, since that would have to wait, or is large."""
        if len(body) > self._small:
            return False
        with self._going:
            put = self.ways.get(member)
            return put is not None and put(b"", envelope, body, DATA) != 0

    def _send_here(self, envelope: bytes, body: bytes, flags: int) -> None:
        """To a name of this process: no ring, but the next turn of the loop, as everywhere else."""
        size = len(envelope) + len(body)
        if self._here and self._here_bytes + size > self._limit:
            raise Overloaded(f"{len(self._here)} messages within this process wait already (BusOptions.outbox_bytes)")
        if not self._here:
            self._loop.call_soon(self._deliver_here)
        self._here.append((envelope, body, flags))
        self._here_bytes += size

    def _deliver_here(self) -> None:
        try:
            for _ in range(min(len(self._here), self._drain_records)):
                envelope, body, flags = self._here.popleft()
                self._here_bytes -= len(envelope) + len(body)
                self._arrived(Message(flags, self._me, 0, None, "", envelope, body))
        finally:  # whatever one of them raised, the others are delivered
            if self._here:
                self._loop.call_soon(self._deliver_here)

    def flush(self, member: str) -> Exception | None:
        """There is room for this member again. The error, if what waited cannot be sent at all."""
        outbox = self._outboxes.get(member)
        if outbox is None:
            return None
        try:
            if outbox.flush(lambda envelope, body, flags: self._carrier.send(member, envelope, body, flags)):
                del self._outboxes[member]
                self._open_way(member)
        except (
            BusError,
            OSError,
            ValueError,
        ) as error:  # also where it is this process that lacks what it takes
            return error
        return None

    def drop(self, member: str, error: Exception) -> None:
        """What waited for this member has failed."""
        outbox = self._outboxes.pop(member, None)
        if outbox is not None:
            outbox.fail(error)
            self._open_way(member)

    def way_to(self, member: str, put: Put | None) -> None:
        if put is None:
            self._puts.pop(member, None)
            with self._going:
                self.ways.pop(member, None)
        else:
            self._puts[member] = put
            self._open_way(member)

    def _open_way(self, member: str) -> None:
        put = self._puts.get(member)
        if put is not None and member not in self._outboxes:
            self.ways[member] = put

    def close(self, error: BusError) -> None:
        for outbox in self._outboxes.values():
            outbox.fail(error)
        self._outboxes.clear()
        self._puts.clear()
        with self._going:
            self.ways.clear()

    @property
    def busy(self) -> bool:
        return bool(self._outboxes or self._here)

    @property
    def messages(self) -> int:
        return sum(len(outbox.entries) for outbox in self._outboxes.values())

    @property
    def bytes(self) -> int:
        return sum(outbox.bytes for outbox in self._outboxes.values())
