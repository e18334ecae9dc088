"""Order the messages of one writer, which may arrive late, twice, as a repair, or not at all. Pure."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
WAITING = 65536  # messages that may wait for an earlier one


class Inbound(Generic[T]):
    """Messages of one writer, in order. `next` is the number of the first message that is not delivered yet."""

    def __init__(self, next_seq: int = 1) -> None:
        self.next = next_seq
        self.newest = next_seq - 1  # highest number that the writer is known to have published
        self.lost = 0
        self.gaps: deque[tuple[int, int]] = deque(maxlen=64)
        self.gap_count = 0
        self._waiting: dict[int, T] = {}

    def take(self, seq: int, item: T) -> list[tuple[int, T]]:
        """Take message `seq`; return the messages that may be delivered now, in order."""
        self.newest = max(self.newest, seq)
        if seq < self.next or seq in self._waiting:
            return []
        if seq != self.next:
            if len(self._waiting) < WAITING:
                self._waiting[seq] = item
            return []
        self.next += 1
        return [(seq, item), *self._ready()]

    def published_up_to(self, seq: int) -> None:
        """Note that the writer has published up to `seq`."""
        self.newest = max(self.newest, seq)

    def missing(self) -> tuple[int, int] | None:
        """Return the first range of messages that are missing, or None."""
        if self.newest < self.next:
            return None
        last = min(self._waiting) - 1 if self._waiting else self.newest
        return self.next, last

    def gone(self, last: int) -> tuple[tuple[int, int] | None, list[tuple[int, T]]]:
        """Give up what is missing up to `last`; return the gap, and the messages that may be delivered behind it."""
        if last < self.next:
            return None, []
        if self._waiting:
            last = min(last, min(self._waiting) - 1)
        gap = (self.next, last)
        self.gaps.append(gap)
        self.gap_count += 1
        self.lost += last - self.next + 1
        self.next = last + 1
        return gap, self._ready()

    def _ready(self) -> list[tuple[int, T]]:
        ready = []
        while self.next in self._waiting:
            ready.append((self.next, self._waiting.pop(self.next)))
            self.next += 1
        return ready

    def verdict(self, seq: int) -> str:
        """Return "seen", "lost" or "lagging" for message `seq`."""
        if seq >= self.next:
            return "lagging"
        if any(first <= seq <= last for first, last in self.gaps):
            return "lost"
        if self.gap_count > len(self.gaps) and seq < self.gaps[0][0]:
            return "lost"
        return "seen"
