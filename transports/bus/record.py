"""What a message is made of. The native part makes them where it is built; this one stands in where it is not."""

from collections.abc import Callable
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
        if self.flags & BINARY:
            self.payload = self.body
        else:
            try:
                self.payload = type(self).decode(self.body)
            except Exception as error:  # noqa: BLE001 - whatever the decoder raises
                self.payload = self._undecodable(error)
        return self.payload

    decode: Callable[[bytes], Any]  # of the class, without self

    @property
    def raw(self) -> bytes:
        return self._packed() if self.flags & BINARY else self.body

    def _packed(self) -> bytes:
        raise NotImplementedError

    def _undecodable(self, error: Exception) -> Any:
        raise error


BINARY = 8  # the body is the bytes that were sent, not msgpack of them

try:
    from transports.bus._ring import Record as Record
except ImportError:
    Record = PlainRecord  # type: ignore[assignment, misc]
