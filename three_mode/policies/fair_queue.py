"""A bounded queue that gives each caller its turn: one with a thousand calls waiting does not hold up one with a single call."""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out within a caller; round robin among callers."""

    __slots__ = ("_lines", "_most", "size")

    def __init__(self, most: int) -> None:
        self._lines: OrderedDict[str, deque[T]] = OrderedDict()
        self._most = most
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def push(self, caller: str, item: T) -> bool:
        """False where the queue is full."""
        if self.size >= self._most:
            return False
        self._lines.setdefault(caller, deque()).append(item)
        self.size += 1
        return True

    def head(self) -> T | None:
        """Whose turn it is, left in place."""
        for line in self._lines.values():
            return line[0]
        return None

    def pop(self) -> T:
        """Takes the head; its caller goes to the end of the round."""
        caller, line = next(iter(self._lines.items()))
        item = line.popleft()
        self.size -= 1
        if line:
            self._lines.move_to_end(caller)
        else:
            del self._lines[caller]
        return item

    def remove(self, caller: str, item: T) -> None:
        """Takes out one that gave up; nothing where it is gone already."""
        line = self._lines.get(caller)
        if line is None or item not in line:
            return
        line.remove(item)
        self.size -= 1
        if not line:
            del self._lines[caller]
