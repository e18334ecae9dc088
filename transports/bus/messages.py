"""What a subscriber or a caller is handed: one object per process and message, the payload decoded on first use."""

from typing import Any

from transports.bus.carrier import BINARY, Record
from transports.bus.errors import BadFrame
from transports.bus.frames import Encoded, decode_payload, encode_payload, unpack_envelope


class _Payload:
    """Decodes when first looked at; from then on the payload is a plain attribute, as cheap as any for 256 handlers."""

    def __get__(self, message: "Message | None", owner: type | None = None) -> Any:
        if message is None:
            return self
        flags, _, _, _, _, _, body = message._record
        payload = message.__dict__["payload"] = body if flags & BINARY else decode_body(body)
        return payload


class Message:
    """A published message, or the reply to an ask, or a part of a stream.

    All subscribers of a process share one Message and its payload: treat the payload as read-only.
    """

    payload = _Payload()

    def __init__(self, record: Record) -> None:
        self._record = record  # one tuple: most fields are looked at for few messages

    @property
    def topic(self) -> str:
        return self._record[4] or ""

    @property
    def member(self) -> str:
        """Id of the member that published or answered."""
        return self._record[1].id

    @property
    def seq(self) -> int:
        """Its number among all that this member published; 0 for replies."""
        return self._record[2]

    @property
    def raw(self) -> bytes:
        """The payload as msgpack, as it came; give it to `Encoded` to pass it on."""
        body = self._record[6]
        return encode_payload(body) if self._record[0] & BINARY else body

    @property
    def encoded(self) -> Encoded:
        return Encoded(self.raw)

    @property
    def sender(self) -> str:
        """Who published or answered: a name if the sender gave one, else the member's id."""
        return unpack_envelope(self._record[5]).sender or self.member

    @property
    def trace(self) -> str:
        return unpack_envelope(self._record[5]).trace

    def __repr__(self) -> str:
        return f"Message(topic={self.topic!r}, member={self.member!r}, seq={self.seq}, {len(self._record[6])} bytes)"


def decode_body(body: bytes) -> Any:
    try:
        return decode_payload(body)
    except Exception as error:  # noqa: BLE001 - msgspec's own, unicode, recursion: all mean that it is no payload
        raise BadFrame(f"the payload is not msgpack: {error}") from None
