"""Send frames: to another member now or when there is room, to this member itself in the next turn of the loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, cast

from transports.bus.carrier import DATA, Carrier, Peer, Put
from transports.bus.errors import BusError, Overloaded
from transports.bus.messages import Message
from transports.bus.options import BusOptions

_NO_WAIT = cast("Generator[Any, None, None]", iter(()))  # awaited for a frame that was placed at once


class Sent:
    """A message that was sent. `await sent` returns when it is in the receiver's ring."""

    __slots__ = ("_future",)

    def __init__(self, future: "asyncio.Future[None] | None") -> None:
        self._future = future

    def __await__(self) -> Generator[Any, None, None]:
        return _NO_WAIT if self._future is None else asyncio.shield(self._future).__await__()


SENT = Sent(None)
"""A message that is in the ring already: one object for all of them."""


Entry = tuple[bytes, bytes, int, "asyncio.Future[None] | None"]


class Outbox:
    """Queue of frames for one member, in order and bounded in bytes; made only once a frame has to wait."""

    __slots__ = ("bytes", "entries")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.bytes = 0

    def append(self, member: str, limit: int, entry: Entry) -> None:
        """Add a frame, or raise Overloaded."""
        size = len(entry[0]) + len(entry[1])
        if self.entries and self.bytes + size > limit:
            raise Overloaded(
                f"{len(self.entries)} messages ({self.bytes} bytes) already wait for member {member}: it reads too"
                " slowly. Await what you send, or raise BusOptions.outbox_bytes"
            )
        self.entries.append(entry)
        self.bytes += size

    def flush(self, send: Callable[[bytes, bytes, int], bool]) -> bool:
        """Send the frames that fit; return whether all did."""
        while self.entries:
            envelope, body, flags, sent = self.entries[0]
            if not send(envelope, body, flags):
                return False
            self.entries.popleft()
            self.bytes -= len(envelope) + len(body)
            if sent is not None and not sent.done():
                sent.set_result(None)
        return True

    def fail(self, error: Exception) -> None:
        """Drop all frames; those who await them get `error`."""
        entries, self.entries, self.bytes = self.entries, deque(), 0
        for _, _, _, sent in entries:
            if sent is not None and not sent.done():
                sent.set_exception(error)
                sent.exception()  # mark it as retrieved: without a waiter, the loop is not to warn of it


class Sending:
    """Sends the frames of one member. `arrived(message)` gets those that it sends to itself."""

    def __init__(self, options: BusOptions, arrived: Callable[[Message], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit, self._drain_records = options.outbox_bytes, options.drain_records
        self._small = min(options.inline_bytes, options.payload_limit)
        self._arrived = arrived
        self._outboxes: dict[str, Outbox] = {}
        self._puts: dict[str, Put] = {}
        self.ways: dict[str, Put] = {}
        """Puts straight into the ring of a member for which nothing waits; without room they decline."""
        # Another thread holds it from finding a way to the end of its put, and this thread while it removes a way: the
        # ring is closed after that. Puts in this thread need no lock: a put holds the interpreter from its beginning to
        # its end.
        self._removing = threading.Lock()
        self._to_self: deque[tuple[bytes, bytes, int]] = deque()
        self._to_self_bytes = 0
        self._carrier: Carrier
        self._me: Peer

    def joined(self, carrier: Carrier) -> None:
        """Set the carrier, which has joined the bus."""
        self._carrier = carrier
        self._me = Peer(carrier.directory.members[carrier.id])

    def send(
        self, member: str, envelope: bytes, body: bytes, flags: int, wanted: bool = False
    ) -> "asyncio.Future[None] | None":
        """Send a frame now, or as soon as there is room; in the latter case return a future, if `wanted`."""
        put = self.ways.get(member)
        if put is not None and len(body) <= self._small and put(b"", envelope, body, flags):
            return None
        if member == self._carrier.id:
            self._send_to_self(envelope, body, flags)
            return None
        outbox = self._outboxes.get(member)
        if outbox is None:
            if self._carrier.send(member, envelope, body, flags):
                return None
            outbox = self._outboxes[member] = Outbox()
            self.ways.pop(member, None)  # no frame overtakes one that waits
        future: asyncio.Future[None] | None = self._loop.create_future() if wanted else None
        outbox.append(member, self._limit, (envelope, body, flags, future))
        return future

    def at_once(self, member: str, envelope: bytes, body: bytes) -> bool:
        """Send a small frame from any thread; False if it was not sent: it is large, or would have to wait."""
        if len(body) > self._small:
            return False
        with self._removing:
            put = self.ways.get(member)
            return put is not None and put(b"", envelope, body, DATA) != 0

    def _send_to_self(self, envelope: bytes, body: bytes, flags: int) -> None:
        """Queue a frame to this member itself: there is no ring, but it too arrives in a later turn of the loop."""
        size = len(envelope) + len(body)
        if self._to_self and self._to_self_bytes + size > self._limit:
            raise Overloaded(
                f"{len(self._to_self)} messages within this process wait already (BusOptions.outbox_bytes)"
            )
        if not self._to_self:
            self._loop.call_soon(self._deliver_to_self)
        self._to_self.append((envelope, body, flags))
        self._to_self_bytes += size

    def _deliver_to_self(self) -> None:
        try:
            for _ in range(min(len(self._to_self), self._drain_records)):
                envelope, body, flags = self._to_self.popleft()
                self._to_self_bytes -= len(envelope) + len(body)
                self._arrived(Message(flags, self._me, 0, None, "", envelope, body))
        finally:  # the others are delivered, even if one of them raises
            if self._to_self:
                self._loop.call_soon(self._deliver_to_self)

    def flush(self, member: str) -> Exception | None:
        """Send what waits for this member: there is room again. Return the error if it cannot be sent at all."""
        outbox = self._outboxes.get(member)
        if outbox is None:
            return None
        try:
            if outbox.flush(lambda envelope, body, flags: self._carrier.send(member, envelope, body, flags)):
                del self._outboxes[member]
                self._open_way(member)
        except (BusError, OSError, ValueError) as error:  # OSError: this process may lack memory or descriptors
            return error
        return None

    def drop(self, member: str, error: Exception) -> None:
        """Fail what waits for this member."""
        outbox = self._outboxes.pop(member, None)
        if outbox is not None:
            outbox.fail(error)
            self._open_way(member)

    def way_to(self, member: str, put: Put | None) -> None:
        """Set the put into the ring of a member, which small frames take from now on; None: there is none any more."""
        if put is None:
            self._puts.pop(member, None)
            with self._removing:
                self.ways.pop(member, None)
        else:
            self._puts[member] = put
            self._open_way(member)

    def _open_way(self, member: str) -> None:
        put = self._puts.get(member)
        if put is not None and member not in self._outboxes:
            self.ways[member] = put

    def close(self, error: BusError) -> None:
        """Fail all that waits."""
        for outbox in self._outboxes.values():
            outbox.fail(error)
        self._outboxes.clear()
        self._puts.clear()
        with self._removing:
            self.ways.clear()

    @property
    def busy(self) -> bool:
        """Whether any frame waits."""
        return bool(self._outboxes or self._to_self)

    @property
    def messages(self) -> int:
        """Number of frames that wait for other members."""
        return sum(len(outbox.entries) for outbox in self._outboxes.values())

    @property
    def bytes(self) -> int:
        """Bytes of these frames."""
        return sum(outbox.bytes for outbox in self._outboxes.values())
