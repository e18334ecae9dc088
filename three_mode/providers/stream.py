"""Base of the decoders of streams: bytes in, chunks out. No bytes from a provider raise an exception."""

from typing import Protocol

from three_mode.errors import BadReply, ConnectionFailed, LLMError
from three_mode.messages import Chunk
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply
from three_mode.providers.repeated import UNREADABLE, EventTemplate, OnlyText
from transports.http2 import NDJSONDecoder, SSEDecoder, TransportError


class Splitter(Protocol):
    """Splits bytes into units, in any pieces: the data of events, or lines."""

    def feed(self, data: bytes) -> list[bytes]:
        """Units that these bytes complete."""

    def finish(self) -> list[bytes]:
        """Units that the end of the bytes completes."""


class StreamDecoder:
    """Base of a decoder; a subclass decodes one unit. Chunks before an error are returned before it is set."""

    __slots__ = ("_splitter", "done", "error", "profile")

    def __init__(self, profile: Profile, splitter: Splitter) -> None:
        self.profile = profile
        self.error: LLMError | None = None
        self.done = False
        self._splitter = splitter

    def feed(self, data: bytes) -> list[Chunk]:
        """Decodes the chunks that these bytes complete."""
        out: list[Chunk] = []
        if self.error is not None or self.done:
            return out
        try:
            units = self._splitter.feed(data)
        except TransportError as error:  # an event or a line that is too long
            self.error = bad_reply(self.profile, str(error))
            return out
        self._take(units, out)
        return out

    def finish(self) -> list[Chunk]:
        """Decodes the rest at the end of the bytes."""
        out: list[Chunk] = []
        if self.error is not None or self.done:
            return out
        try:
            self._take(self._splitter.finish(), out)
        except TransportError as error:
            self.error = bad_reply(self.profile, str(error))
        if self.error is None and not self.done:
            self.ended(out)
        return out

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        """Appends the chunks of one unit to `out`."""
        raise NotImplementedError

    def ended(self, out: list[Chunk]) -> None:
        """Handles the end of the bytes without an end marker."""
        self.cut()

    def cut(self) -> None:
        """Sets the error of a stream that was cut."""
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
    """Splitter of server-sent events into their data."""

    __slots__ = ("_events", "feed")

    def __init__(self) -> None:
        self._events = SSEDecoder()
        self.feed = self._events.feed_data

    def finish(self) -> list[bytes]:
        """Data of the events that the end of the bytes completes."""
        return [event.data for event in self._events.finish()]


class EventDecoder(StreamDecoder):
    """Decoder of server-sent events. With `only_text`, repeated events are read by a template."""

    __slots__ = ("_repeated",)

    def __init__(self, profile: Profile, only_text: OnlyText | None = None) -> None:
        super().__init__(profile, EventData())
        self._repeated = EventTemplate(only_text) if only_text is not None else None

    def _take(self, units: list[bytes], out: list[Chunk]) -> None:
        template = self._repeated
        if template is None:
            super()._take(units, out)
            return
        at = 0
        while (at := template.read_matching(units, at, out)) < len(units):
            count = len(out)
            self._read(units[at], out)
            if self.error is not None or self.done:
                return
            if len(out) == count + 1:
                template.take_from(units[at], out[count])
            at += 1


class LineDecoder(StreamDecoder):
    """Decoder of lines of JSON."""

    __slots__ = ()

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile, NDJSONDecoder())


def _unreadable(profile: Profile, unit: bytes, error: Exception) -> BadReply:
    return bad_reply(profile, f"what came cannot be read ({type(error).__name__}: {error}): {unit[:80]!r}"[:300])
