"""What a writer keeps of what it published, as a ring would: for repairs, for late joiners, for RELIABLE readers. Pure."""

from collections import deque
from typing import NamedTuple


class Published(NamedTuple):
    seq: int
    flags: int
    topic: bytes
    envelope: bytes
    body: bytes


_OVERHEAD = 32  # of a record in a ring, so that both carriers hold about as much


class PublishHistory:
    """Bounded in bytes; large payloads have a limit of their own. The newest message is always kept."""

    def __init__(self, small_limit: int, large_limit: int, large_from: int) -> None:
        self._limits = (small_limit, large_limit)
        self._large_from = large_from
        self._items: deque[Published] = deque()
        self._bytes = [0, 0]

    @property
    def oldest(self) -> int:
        return self._items[0].seq if self._items else 0

    def _size(self, topic: bytes, envelope: bytes, body: bytes) -> tuple[int, int]:
        return len(topic) + len(envelope) + len(body) + _OVERHEAD, len(body) > self._large_from

    def make_room(self, topic: bytes, envelope: bytes, body: bytes, needed_from: int) -> bool:
        """Whether one more fits; messages before `needed_from` may be dropped for it."""
        size, kind = self._size(topic, envelope, body)
        while self._bytes[kind] + size > self._limits[kind] and self._items and self._items[0].seq < needed_from:
            self._drop_oldest()
        return not self._bytes[kind] or self._bytes[kind] + size <= self._limits[kind]

    def add(self, item: Published) -> None:
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
        if not self._items or last < self._items[0].seq:
            return []
        start = max(0, first - self._items[0].seq)
        stop = min(len(self._items), last - self._items[0].seq + 1)
        return [self._items[place] for place in range(start, stop)]
