"""What waits to be sent: bounded in bytes, in order. Empty, it costs one dict look-up per message."""

import asyncio
from collections import deque
from collections.abc import Callable

from transports.bus.errors import Overloaded

Entry = tuple[bytes, bytes, int, "asyncio.Future[None] | None"]


class Outbox:
    """Frames for one member."""

    __slots__ = ("bytes", "entries")

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque()
        self.bytes = 0

    def append(self, member: str, limit: int, entry: Entry) -> None:
        size = len(entry[0]) + len(entry[1])
        if self.entries and self.bytes + size > limit:
            raise Overloaded(
                f"{len(self.entries)} messages ({self.bytes} bytes) already wait for member {member}: it reads too slowly."
                " Await what you send, or raise BusOptions.outbox_bytes"
            )
        self.entries.append(entry)
        self.bytes += size

    def flush(self, send: Callable[[bytes, bytes, int], bool]) -> bool:
        """Send what fits; whether all did."""
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
        entries, self.entries, self.bytes = self.entries, deque(), 0
        for _, _, _, sent in entries:
            if sent is not None and not sent.done():
                sent.set_exception(error)
                sent.exception()  # seen by whoever awaits it; nobody else is warned
