"""Calls between nodes: those of this node that wait for an answer, those of others that are served here, and when each
ends at the latest."""

import heapq
from collections.abc import Iterator


class OutCall:
    """A call of this node."""

    __slots__ = ("ends", "node", "parts", "streams", "to")

    def __init__(self, node: str, to: str, ends: float, streams: bool) -> None:
        self.node, self.to, self.ends, self.streams = node, to, ends, streams
        self.parts = 0
        """Parts of its stream that have come."""


class OutCalls:
    """The calls of this node that wait, by id."""

    def __init__(self) -> None:
        self.waiting: dict[int, OutCall] = {}
        self._ends: list[tuple[float, int]] = []
        self._id = 0

    def next_id(self) -> int:
        """Return the id of a new call."""
        self._id += 1
        return self._id

    def add(self, id_: int, call: OutCall) -> None:
        """Add a call."""
        self.waiting[id_] = call
        heapq.heappush(self._ends, (call.ends, id_))

    def answered_by(self, node: str, id_: int) -> OutCall | None:
        """Return the call that a frame of `node` answers; None for one that waits no longer."""
        call = self.waiting.get(id_)
        return call if call is not None and call.node == node else None

    def at(self, node: str) -> list[int]:
        """Return the calls that wait for a node."""
        return [id_ for id_, call in self.waiting.items() if call.node == node]

    def expired(self, now: float) -> Iterator[int]:
        """Take the calls whose time has run out."""
        while self._ends and self._ends[0][0] <= now:
            _, id_ = heapq.heappop(self._ends)
            if id_ in self.waiting:
                yield id_

    @property
    def next_end(self) -> float:
        """When the next call ends; infinity where none waits."""
        while self._ends and self._ends[0][1] not in self.waiting:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else float("inf")


class ServedCalls:
    """The calls of other nodes that are served here, by node and id, and when each ends."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, int], int] = {}
        """Call -> how many parts of its stream were sent."""
        self._ends: list[tuple[float, tuple[str, int]]] = []

    def add(self, key: tuple[str, int], ends: float) -> None:
        """Add a call."""
        self.open[key] = 0
        heapq.heappush(self._ends, (ends, key))

    def of(self, node: str) -> list[tuple[str, int]]:
        """Return the calls of a node."""
        return [key for key in self.open if key[0] == node]

    def expired(self, now: float) -> Iterator[tuple[str, int]]:
        """Take the calls whose time has run out: their callers have given up."""
        while self._ends and self._ends[0][0] <= now:
            _, key = heapq.heappop(self._ends)
            if self.open.pop(key, None) is not None:
                yield key
