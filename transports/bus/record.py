"""What a message is made of. The native part makes them where it is built; this one stands in where it is not."""

from typing import Any


class PlainRecord:
    """The same as the native Record: see native/record.c."""

    __slots__ = ("body", "envelope", "flags", "payload", "peer", "route", "seq", "topic")

    payload: Any  # decoded when first looked at

    def __init__(
        self, flags: int, peer: Any, seq: int, route: Any, topic: str, envelope: bytes, body: bytes, /
    ) -> None:
        self.flags = flags
        self.peer = peer
        self.seq = seq
        self.route = route
        self.topic = topic
        self.envelope = envelope
        self.body = body

    def __getattr__(self, name: str) -> Any:
        """The slot of the payload is empty until somebody looks."""
        if name != "payload":
            raise AttributeError(name)
        self.payload = self.body if self.flags & BINARY else self._decode()
        return self.payload

    def _decode(self) -> Any:
        raise NotImplementedError


BINARY = 8  # the body is the bytes that were sent, not msgpack of them

try:
    from transports.bus._ring import Record as Record
except ImportError:
    Record = PlainRecord  # type: ignore[assignment, misc]
