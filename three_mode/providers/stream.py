"""What the decoders of streams share: bytes in, chunks out, and no exception for what a provider sends."""

from typing import Generic, Protocol, TypeVar

from three_mode.errors import BadReply, ConnectionFailed, LLMError
from three_mode.messages import Chunk
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply
from transports.http2 import NDJSONDecoder, ServerSentEvent, SSEDecoder, TransportError

Unit = TypeVar("Unit")  # what the bytes are cut into: an event, a line
UNREADABLE = (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError, RecursionError)


class Cutter(Protocol[Unit]):
    """Cuts bytes into units, whatever pieces they came in."""

    def feed(self, data: bytes) -> list[Unit]: ...
    def finish(self) -> list[Unit]: ...


class StreamDecoder(Generic[Unit]):
    """A subclass says what one unit means. An error ends the stream after the chunks that came before it."""

    __slots__ = ("_cutter", "done", "error", "profile")

    def __init__(self, profile: Profile, cutter: Cutter[Unit]) -> None:
        self.profile = profile
        self.error: LLMError | None = None
        self.done = False
        self._cutter = cutter

    def feed(self, data: bytes) -> list[Chunk]:
        out: list[Chunk] = []
        if self.error is not None or self.done:
            return out
        try:
            units = self._cutter.feed(data)
        except TransportError as error:  # an event or a line beyond all bounds
            self.error = bad_reply(self.profile, str(error))
            return out
        self._take(units, out)
        return out

    def finish(self) -> list[Chunk]:
        out: list[Chunk] = []
        if self.error is not None or self.done:
            return out
        try:
            self._take(self._cutter.finish(), out)
        except TransportError as error:
            self.error = bad_reply(self.profile, str(error))
        if self.error is None and not self.done:
            self.ended(out)
        return out

    def read(self, unit: Unit, out: list[Chunk]) -> None:
        raise NotImplementedError

    def ended(self, out: list[Chunk]) -> None:
        """The bytes are over and no end marker came."""
        self.cut()

    def cut(self) -> None:
        self.error = ConnectionFailed(
            f"{self.profile.name}: the stream ended before the reply did", provider=self.profile.name
        )

    def _take(self, units: list[Unit], out: list[Chunk]) -> None:
        for unit in units:
            try:
                self.read(unit, out)
            except UNREADABLE as error:
                self.error = _unreadable(self.profile, unit, error)
            if self.error is not None or self.done:
                return


class EventDecoder(StreamDecoder[ServerSentEvent]):
    """A stream of server-sent events."""

    __slots__ = ()

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, SSEDecoder())


class LineDecoder(StreamDecoder[bytes]):
    """A stream of lines, each of them JSON."""

    __slots__ = ()

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, NDJSONDecoder())


def _unreadable(profile: Profile, unit: object, error: Exception) -> BadReply:
    data = unit.data if isinstance(unit, ServerSentEvent) else unit
    shown = data[:80] if isinstance(data, bytes) else data
    return bad_reply(profile, f"what came cannot be read ({type(error).__name__}: {error}): {shown!r}"[:300])
