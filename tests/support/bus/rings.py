"""Native part without a bus: a ring, its writer, and a pump that reads it."""

import os
from collections.abc import Callable
from typing import Any

from transports.bus.messages import Message
from transports.bus.pubsub.delivery import CAUGHT
from transports.bus.rings.doorbell import Doorbell
from transports.bus.rings.native import BELL, DATA, PAGE, PAGE_BYTES, RING, Pump, Segment, Writer
from transports.bus.rings.segments import make

PARTS = (
    "direct",
    "route",
    "fan_out",
    "newest",
    "flush",
    "caught",
    "raised",
    "special",
    "ended",
    "waiting",
    "offer_room",
    "call_soon",
)


def attend(
    pump: Pump, doorbell: Doorbell | None = None, batch: int = 100, linger: int = 0, spin: int = 0, **parts: Any
) -> dict[str, list[tuple[Any, ...]]]:
    """Sets the pump's callbacks; calls of parts that `parts` does not name are kept."""
    calls: dict[str, list[tuple[Any, ...]]] = {}

    def kept(name: str) -> Callable[..., None]:
        return lambda *given: calls.setdefault(name, []).append(given)

    given: dict[str, Any] = {"caught": CAUGHT, "newest": {}, "waiting": {}} | parts
    pump.attend(tuple(given[name] if name in given else kept(name) for name in PARTS), batch, linger, spin)
    if doorbell is not None:
        pump.bell(doorbell.fileno(), doorbell.own, doorbell.shard)
    return calls


class Bench:
    """One writer and one reader of a ring, in one process."""

    def __init__(self, capacity: int = 4096, pair: bool = False, gated: bool = False) -> None:
        self.fds: list[int] = []
        self.ring = self._make(RING, capacity)
        self.reader_page = self._make(PAGE, PAGE_BYTES)
        self.writer_page = self._make(PAGE, PAGE_BYTES)
        self.bell = self._make(BELL, 0)
        self.event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.fds.append(self.event)
        self.routes: dict[str, Any] = {}
        self.writer = Writer(self.ring)
        self.pump = Pump(self.reader_page, self.bell, 7, self.routes, Message)
        if pair:
            self.writer.gate(0, self.reader_page, 3, True)
            self.writer.member(0, self.event, self.reader_page)
            self.pump.pair("w", self.ring, 3, self.writer_page, self.event)
        else:
            if gated:
                self.writer.gate(0, self.reader_page, 3, False)
            self.writer.shard(0, self.event, self.bell, 0)
            self.pump.listen(True)
            self.pump.writer("w", self.ring, 3, True)
        self.topic = b"" if pair else b"t"

    def _make(self, kind: int, capacity: int) -> Segment:
        fd, segment = make(kind, capacity)
        self.fds.append(fd)
        return segment

    def put(self, body: bytes, topic: bytes | None = None) -> int:
        return self.writer.put(self.topic if topic is None else topic, b"e", body, DATA)

    def rung(self) -> bool:
        """Whether the wake-up was rung since the last check."""
        try:
            return os.eventfd_read(self.event) > 0
        except BlockingIOError:
            return False

    def close(self) -> None:
        self.pump.close()
        for fd in self.fds:
            os.close(fd)
