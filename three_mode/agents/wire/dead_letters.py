"""Dead letters: messages that no agent has taken. A bounded log drops the oldest and keeps their count."""

import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

KEPT = 1000
_PREVIEW = 2048  # bytes of the payload


class DeadLetter(msgspec.Struct, frozen=True):
    """Message that no agent has taken, and why."""

    to: str
    """Agent, or agents, that it was for."""
    handler: str
    """Handler that it was for; empty where it had none."""
    sender: str
    """Agent or host that sent it; empty for a program that is no agent."""
    reason: str
    """Why no agent has taken it."""
    when: float
    """Seconds since the epoch."""
    payload: bytes
    """Its content as msgpack, cut after 2048 bytes."""
    size: int
    """Bytes of the whole content."""
    node: str = ""
    """Node of the cluster that has it; empty without a cluster."""

    def __str__(self) -> str:
        handler = f".{self.handler}" if self.handler else ""
        sender = self.sender or "somebody"
        where = f", at node {self.node}" if self.node else ""
        return f"{self.to}{handler}, from {sender}, {self.size} bytes{where}: {self.reason}"


class DeadLetters:
    """Bounded log of dead letters: `count` and `reasons` count all of them, also those that were dropped."""

    __slots__ = ("_dead_letters", "count", "reasons", "told")

    def __init__(self, kept: int = KEPT) -> None:
        self._dead_letters: deque[DeadLetter] = deque(maxlen=kept)
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self.told: Callable[[DeadLetter], None] | None = None
        """Called with each new one, while somebody wants to hear of them."""

    def add(self, to: str, handler: str, sender: str, code: str, reason: str, payload: bytes | memoryview) -> None:
        """Add a dead letter. `code` is the kind of the reason, for the counts."""
        self.count += 1
        self.reasons[code] += 1
        preview = bytes(payload[:_PREVIEW])
        letter = DeadLetter(to, handler, sender, reason, time.time(), preview, len(payload))
        self._dead_letters.append(letter)
        if self.told is not None:
            self.told(letter)

    def read(self) -> list[DeadLetter]:
        """Return those that are kept, the oldest first."""
        return list(self._dead_letters)
