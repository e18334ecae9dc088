"""Fair queue: bounded, round robin among callers, so that a caller with many calls does not delay one with a single
call.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Queue that is first in, first out within a caller, and round robin among callers."""

    __slots__ = ("_most", "_queues", "size")

    def __init__(self, most: int) -> None:
        self._queues: OrderedDict[str, deque[T]] = OrderedDict()
        self._most = most
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def push(self, caller: str, item: T) -> bool:
        """Adds an item; False where the queue is full."""
        if self.size >= self._most:
            return False
        self._queues.setdefault(caller, deque()).append(item)
        self.size += 1
        return True

    def head(self) -> T | None:
        """Next item, which stays in the queue; None where the queue is empty."""
        for queue in self._queues.values():
            return queue[0]
        return None

    def pop(self) -> T:
        """Removes the next item; its caller goes to the end of the round."""
        caller, queue = next(iter(self._queues.items()))
        item = queue.popleft()
        self.size -= 1
        if queue:
            self._queues.move_to_end(caller)
        else:
            del self._queues[caller]
        return item

    def remove(self, caller: str, item: T) -> None:
        """Removes an item, if it is still in the queue."""
        queue = self._queues.get(caller)
        if queue is None or item not in queue:
            return
        queue.remove(item)
        self.size -= 1
        if not queue:
            del self._queues[caller]
