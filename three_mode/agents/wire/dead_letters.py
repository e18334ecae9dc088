"""Dead letters: messages that reached nobody, kept for reading. Bounded: the oldest go first, and the count stays."""

import time
from collections import Counter, deque

import msgspec

KEPT = 1000
_PREVIEW = 2048  # bytes of the payload


class DeadLetter(msgspec.Struct, frozen=True):
    """A message that nobody took, and why. `payload` is msgpack, cut when `size` is more."""

    to: str
    handler: str
    sender: str
    reason: str
    when: float
    payload: bytes
    size: int

    def __str__(self) -> str:
        handler = f".{self.handler}" if self.handler else ""
        sender = self.sender or "somebody"
        return f"{self.to}{handler}, from {sender}, {self.size} bytes: {self.reason}"


class DeadLetters:
    __slots__ = ("_dead_letters", "count", "reasons")

    def __init__(self, kept: int = KEPT) -> None:
        self._dead_letters: deque[DeadLetter] = deque(maxlen=kept)
        self.count = 0
        self.reasons: Counter[str] = Counter()

    def add(self, to: str, handler: str, sender: str, code: str, reason: str, payload: bytes | memoryview) -> None:
        self.count += 1
        self.reasons[code] += 1
        preview = bytes(payload[:_PREVIEW])
        self._dead_letters.append(DeadLetter(to, handler, sender, reason, time.time(), preview, len(payload)))

    def read(self) -> list[DeadLetter]:
        return list(self._dead_letters)
