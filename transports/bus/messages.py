"""What a subscriber or a caller is handed: one object per process and message, the payload decoded on first use."""

from typing import Any

from transports.bus.errors import BadFrame
from transports.bus.frames import Encoded, decode_payload, encode_payload, unpack_envelope


class Message:
    """A published message, or the reply to an ask, or a part of a stream.

    All subscribers of a process share one Message and its payload: treat the payload as read-only.
    """

    __slots__ = ("_binary", "_body", "_envelope", "member", "payload", "seq", "topic")
    payload: Any

    def __init__(
        self, topic: str, member: str, seq: int, envelope: bytes, body: bytes, binary: bool = False
    ) -> None:
        self.topic = topic
        self.member = member  # id of the member that published it
        self.seq = seq  # its number among all that this member published; 0 for replies
        self._envelope = envelope
        self._body = body
        self._binary = binary

    def __getattr__(self, name: str) -> Any:
        """The slot of the payload is empty until somebody looks; from then on it is a plain attribute."""
        if name != "payload":
            raise AttributeError(name)
        self.payload = self._body if self._binary else decode_body(self._body)
        return self.payload

    @property
    def raw(self) -> bytes:
        """The payload as msgpack, as it came; give it to `Encoded` to pass it on."""
        return encode_payload(self._body) if self._binary else self._body

    @property
    def encoded(self) -> Encoded:
        return Encoded(self.raw)

    @property
    def sender(self) -> str:
        """Who published or answered: a name if the sender gave one, else the member's id."""
        return (unpack_envelope(self._envelope).sender if self._envelope else "") or self.member

    @property
    def trace(self) -> str:
        return unpack_envelope(self._envelope).trace if self._envelope else ""

    def __repr__(self) -> str:
        return (
            f"Message(topic={self.topic!r}, member={self.member!r}, seq={self.seq}, {len(self._body)} bytes)"
        )


def decode_body(body: bytes) -> Any:
    try:
        return decode_payload(body)
    except Exception as error:  # noqa: BLE001 - msgspec's own, unicode, recursion: all mean that it is no payload
        raise BadFrame(f"the payload is not msgpack: {error}") from None
