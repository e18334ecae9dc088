"""What a subscriber or a caller is handed: one object per process and message, the payload decoded on first use."""

from typing import Any

from transports.bus.errors import BadFrame
from transports.bus.frames import Encoded, decode_payload, encode_payload, unpack_envelope
from transports.bus.record import Record


class Message(Record):
    """A published message, or the reply to an ask, or a part of a stream.

    `payload`, `raw` (it as msgpack, for `Encoded`, to pass it on), `topic` ("" for what was not published) and `seq` (its number among all that its member published; 0 for
    replies) are plain attributes. All subscribers of a process share one Message and its payload: treat it as read-only.
    """

    __slots__ = ()

    @property
    def member(self) -> str:
        """Id of the member that published or answered."""
        member: str = self.peer.id
        return member

    @property
    def encoded(self) -> Encoded:
        """The payload as msgpack, to pass on as it is."""
        return Encoded(self.raw)

    @property
    def sender(self) -> str:
        """Who published or answered: a name if the sender gave one, else the member's id."""
        return unpack_envelope(self.envelope).sender or self.member

    @property
    def trace(self) -> str:
        """Trace id that the sender gave, or ""."""
        return unpack_envelope(self.envelope).trace

    decode = staticmethod(decode_payload)  #: the value of msgpack bytes

    def _packed(self) -> bytes:
        return encode_payload(self.body)

    def _undecodable(self, error: Exception) -> Any:
        raise undecodable(error) from None

    def __repr__(self) -> str:
        return f"Message(topic={self.topic!r}, member={self.member!r}, seq={self.seq}, {len(self.body)} bytes)"


class OpenedMessage(Message):
    """One whose payload is decoded already and lies in a plain slot, which the interpreter reads at a tenth of the cost."""

    __slots__ = ("payload",)


def opened(message: Message) -> Message:
    """What to give to many: the same message, open. One that cannot be decoded says so to each who looks."""
    try:
        payload = message.payload
    except BadFrame:
        return message
    other = OpenedMessage(
        message.flags,
        message.peer,
        message.seq,
        message.route,
        message.topic,
        message.envelope,
        message.body,
    )
    other.payload = payload
    return other


def decode_body(body: bytes) -> Any:
    try:
        return decode_payload(body)
    except Exception as error:  # noqa: BLE001 - msgspec's own, unicode, recursion: all mean that it is no payload
        raise undecodable(error) from None


def undecodable(error: Exception) -> BadFrame:
    return BadFrame(f"the payload is not msgpack: {error}")
