"""Message: the object that subscribers and callers get. One for each process and message, decoded on first use."""

from typing import Any

from transports.bus.errors import BadFrame
from transports.bus.frames import Encoded, decode_payload, encode_payload, unpack_envelope
from transports.bus.record import Record


class Message(Record):
    """A published message, the reply to an ask, or a part of a stream.

    All subscribers of a process share one Message and its payload: treat both as read-only. Plain attributes:

    - `payload`: the decoded payload.
    - `raw`: the payload as msgpack; `encoded` wraps it, to pass it on.
    - `topic`: the topic that it was published to; "" for what was not published.
    - `seq`: its number among all messages that its member published; 0 for replies.
    """

    __slots__ = ()

    @property
    def member(self) -> str:
        """Id of the member that published or answered."""
        member: str = self.peer.id
        return member

    @property
    def encoded(self) -> Encoded:
        """The payload as it came, to be passed on without decoding it."""
        return Encoded(self.raw)

    @property
    def sender(self) -> str:
        """Name that the sender gave, or else the id of its member."""
        return unpack_envelope(self.envelope).sender or self.member

    @property
    def trace(self) -> str:
        """Trace context that the sender gave, or ""."""
        return unpack_envelope(self.envelope).trace

    #: Decoder of payloads: the value of a msgpack body.
    decode = staticmethod(decode_payload)

    def _packed(self) -> bytes:
        return encode_payload(self.body)

    def _undecodable(self, error: Exception) -> Any:
        raise undecodable(error) from None

    def __repr__(self) -> str:
        return f"Message(topic={self.topic!r}, member={self.member!r}, seq={self.seq}, {len(self.body)} bytes)"


class OpenedMessage(Message):
    """Message with its payload decoded in a plain slot, which the interpreter reads at a tenth of the cost."""

    __slots__ = ("payload",)


def opened(message: Message) -> Message:
    """Return the same message, decoded, for many callbacks; the message itself if it cannot be decoded."""
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
    """Decode a payload, or raise BadFrame."""
    try:
        return decode_payload(body)
    except Exception as error:  # noqa: BLE001 - msgspec's own, unicode, recursion: each means that it is no payload
        raise undecodable(error) from None


def undecodable(error: Exception) -> BadFrame:
    """Make the error for a payload that is no msgpack."""
    return BadFrame(f"the payload is not msgpack: {error}")
