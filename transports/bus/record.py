"""Record: the base of every message. The native part provides it; `PlainRecord` is for builds without one."""

from collections.abc import Callable
from typing import Any


class PlainRecord:
    """Record in plain Python; native/record.c has the same attributes."""

    __slots__ = ("body", "envelope", "flags", "payload", "peer", "route", "seq", "topic")

    payload: Any
    """The decoded payload; decoded when it is first read."""

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
        """Decode the payload: its slot is empty until it is first read."""
        if name != "payload":
            raise AttributeError(name)
        if self.flags & BINARY:
            self.payload = self.body
        else:
            try:
                self.payload = type(self).decode(self.body)
            except Exception as error:  # noqa: BLE001 - the decoder may raise anything
                self.payload = self._undecodable(error)
        return self.payload

    decode: Callable[[bytes], Any]
    """Decoder of payloads: an attribute of the class, called without self."""

    @property
    def raw(self) -> bytes:
        """The payload as msgpack."""
        return self._packed() if self.flags & BINARY else self.body

    def _packed(self) -> bytes:
        raise NotImplementedError

    def _undecodable(self, error: Exception) -> Any:
        raise error


BINARY = 8  # flag: the body is the bytes that were sent, not msgpack of them

try:
    from transports.bus._ring import Record as Record
except ImportError:
    Record = PlainRecord  # type: ignore[assignment, misc]
