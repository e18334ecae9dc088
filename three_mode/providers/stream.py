"""What the decoders of streams share: bytes in, chunks out, and no exception for what a provider sends."""

from typing import Protocol

from three_mode.errors import BadReply, ConnectionFailed, LLMError
from three_mode.messages import Chunk
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply
from three_mode.providers.repeated import UNREADABLE, OnlyText, Repeated
from transports.http2 import NDJSONDecoder, SSEDecoder, TransportError


class Cutter(Protocol):
    """Cuts bytes into units, whatever pieces they came in: the data of events, or lines."""

    def feed(self, data: bytes) -> list[bytes]: ...
    def finish(self) -> list[bytes]: ...


class StreamDecoder:
    """A subclass says what one unit means. An error ends the stream after the chunks that came before it."""

    __slots__ = ("_cutter", "done", "error", "profile")

    def __init__(self, profile: Profile, cutter: Cutter) -> None:
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

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        raise NotImplementedError

    def ended(self, out: list[Chunk]) -> None:
        """The bytes are over and no end marker came."""
        self.cut()

    def cut(self) -> None:
        self.error = ConnectionFailed(
            f"{self.profile.name}: the stream ended before the reply did", provider=self.profile.name
        )

    def _take(self, units: list[bytes], out: list[Chunk]) -> None:
        for unit in units:
            self._read(unit, out)
            if self.error is not None or self.done:
                return

    def _read(self, unit: bytes, out: list[Chunk]) -> None:
        try:
            self.read(unit, out)
        except UNREADABLE as error:
            self.error = _unreadable(self.profile, unit, error)


class EventData:
    """The data of server-sent events."""

    __slots__ = ("_events", "feed")

    def __init__(self) -> None:
        self._events = SSEDecoder()
        self.feed = self._events.feed_data

    def finish(self) -> list[bytes]:
        return [event.data for event in self._events.finish()]


class EventDecoder(StreamDecoder):
    """A stream of server-sent events. `only_text` says which of them may be read by what they repeat."""

    __slots__ = ("_repeated",)

    def __init__(self, profile: Profile, only_text: OnlyText | None = None) -> None:
        super().__init__(profile, EventData())
        self._repeated = Repeated(only_text) if only_text is not None else None

    def _take(self, units: list[bytes], out: list[Chunk]) -> None:
        repeated = self._repeated
        if repeated is None:
            super()._take(units, out)
            return
        at = 0
        while (at := repeated.follow(units, at, out)) < len(units):
            here = len(out)
            self._read(units[at], out)
            if self.error is not None or self.done:
                return
            if len(out) == here + 1:
                repeated.learn(units[at], out[here])
            at += 1


class LineDecoder(StreamDecoder):
    """A stream of lines, each of them JSON."""

    __slots__ = ()

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, NDJSONDecoder())


def _unreadable(profile: Profile, unit: bytes, error: Exception) -> BadReply:
    return bad_reply(profile, f"what came cannot be read ({type(error).__name__}: {error}): {unit[:80]!r}"[:300])
