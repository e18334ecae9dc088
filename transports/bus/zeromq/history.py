"""History of a writer: the latest messages, as in a ring, for repairs, new subscribers and RELIABLE readers. Pure."""

from collections import deque
from typing import NamedTuple


class Published(NamedTuple):
    """A published message."""

    seq: int
    flags: int
    topic: bytes
    envelope: bytes
    body: bytes


_OVERHEAD = 32  # bytes of a record in a ring: so both carriers hold about as much


class PublishHistory:
    """Latest messages of one writer, bounded in bytes: small and large payloads apart. The newest is always kept."""

    def __init__(self, small_limit: int, large_limit: int, large_from: int) -> None:
        self._limits = (small_limit, large_limit)
        self._large_from = large_from
        self._items: deque[Published] = deque()
        self._bytes = [0, 0]

    @property
    def oldest(self) -> int:
        """Number of the oldest message; 0 without any."""
        return self._items[0].seq if self._items else 0

    def _size(self, topic: bytes, envelope: bytes, body: bytes) -> tuple[int, int]:
        return len(topic) + len(envelope) + len(body) + _OVERHEAD, len(body) > self._large_from

    def make_room(self, topic: bytes, envelope: bytes, body: bytes, needed_from: int) -> bool:
        """Return whether one more message fits; those before `needed_from` are dropped for it."""
        size, kind = self._size(topic, envelope, body)
        while self._bytes[kind] + size > self._limits[kind] and self._items and self._items[0].seq < needed_from:
            self._drop_oldest()
        return not self._bytes[kind] or self._bytes[kind] + size <= self._limits[kind]

    def add(self, item: Published) -> None:
        """Add a message, and drop the oldest ones above the limits."""
        size, kind = self._size(item.topic, item.envelope, item.body)
        self._items.append(item)
        self._bytes[kind] += size
        while len(self._items) > 1 and (self._bytes[0] > self._limits[0] or self._bytes[1] > self._limits[1]):
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        old = self._items.popleft()
        size, kind = self._size(old.topic, old.envelope, old.body)
        self._bytes[kind] -= size

    def between(self, first: int, last: int) -> list[Published]:
        """Return the messages from `first` to `last` that are still there."""
        if not self._items or last < self._items[0].seq:
            return []
        start = max(0, first - self._items[0].seq)
        stop = min(len(self._items), last - self._items[0].seq + 1)
        return [self._items[place] for place in range(start, stop)]
