"""Decoder of server-sent events (WHATWG): lines end in CR, LF or CRLF, and in nothing else.

    decoder = SSEDecoder()
    async for data in response.body:
        for event in decoder.feed(data):
            ...event.event, event.data...

The decoder works on bytes, because `str.splitlines` would split on U+2028. Any split of the input gives the same
events. Time is linear in the input: no byte is scanned twice. Memory is bounded: an event holds at most `max_event`
bytes.
"""

from typing import NamedTuple

from transports.http2.errors import LimitExceeded

DEFAULT_MAX_EVENT = 16 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event. `data` is bytes, from which JSON is decoded without a conversion to text."""

    event: str
    data: bytes
    id: str
    retry: int | None


class LineSplitter:
    """Splits bytes into lines without their ends. A CR at the end of a piece may be half of a CRLF, and is kept."""

    __slots__ = ("_after_cr", "_max", "_pending", "_size", "_what")

    def __init__(self, max_line: int, what: str) -> None:
        self._pending: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._max = max_line
        self._what = what

    def feed(self, data: bytes) -> list[bytes]:
        """Adds bytes; returns the lines that they complete."""
        if not data:
            return []
        if self._after_cr:
            self._after_cr = False
            if data[0] == 0x0A:
                data = data[1:]
                if not data:
                    return []
        if b"\r" in data:
            if data[-1] == 0x0D:
                self._after_cr = True
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        if lines and self._pending:
            self._pending.append(lines[0])
            lines[0] = b"".join(self._pending)
            self._pending.clear()
            self._size = 0
        if rest:
            self._pending.append(rest)
            self._size += len(rest)
        # A long line is refused whether it arrived whole or in pieces.
        if self._size > self._max or (lines and max(map(len, lines)) > self._max):
            raise LimitExceeded(f"{self._what} is longer than {self._max} bytes")
        return lines

    @property
    def empty(self) -> bool:
        """Whether no incomplete line is kept."""
        return not self._pending and not self._after_cr

    def finish(self) -> bytes:
        """Returns the bytes after the last line end."""
        rest = b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        return rest


class SSEDecoder:
    """Decoder of one stream: `feed(bytes) -> events`. After `finish()` it can be used for another stream.

    `max_event`: bytes of the longest event (default 16 MiB); a longer one is LimitExceeded.
    """

    __slots__ = ("_data", "_event", "_id", "_lines", "_max", "_retry", "_size", "_start")

    def __init__(self, max_event: int = DEFAULT_MAX_EVENT) -> None:
        self._max = max_event
        self._id = ""
        self._reset()

    def _reset(self) -> None:
        self._lines = LineSplitter(self._max, "a line of the event stream")
        self._start: bytes | None = b""  # the first three bytes, which may be a BOM
        self._clear()

    def _clear(self) -> None:
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """Adds bytes; returns the events that they complete."""
        if self._start is not None:
            self._start += data
            if len(self._start) < 3 and BOM.startswith(self._start):
                return []
            data, self._start = self._start.removeprefix(BOM), None
        events: list[ServerSentEvent] = []
        for line in self._lines.feed(data):
            if line:
                self._field(line)
            else:
                if self._data:
                    events.append(self._complete())
                self._clear()
        return events

    def feed_data(self, data: bytes) -> list[bytes]:
        """Adds bytes; returns the data alone of the events that they complete.

        Whole events that begin with the same lines are split in one step.
        """
        found: list[bytes] = []
        if not self._is_between_events():
            cut = data.find(b"\n\n") + 2 or len(data)
            found += [event.data for event in self.feed(data[:cut])]
            data = data[cut:]
        if self._is_between_events() and len(data) <= self._max:
            cut = data.rfind(b"\n\n") + 2
            if cut > 1:
                found += self._data_of(data[:cut])
                data = data[cut:]
        if data:
            found += [event.data for event in self.feed(data)]
        return found

    def _data_of(self, events: bytes) -> list[bytes]:
        """Returns the data of whole events."""
        alike = _data_of_equal_events(events)
        if alike is not None:
            return alike
        *each, _ = events.split(b"\n\n")
        if len(each) == 1:
            return [event.data for event in self.feed(events)]
        return [data for event in each for data in self._data_of(event + b"\n\n")]

    def _is_between_events(self) -> bool:
        """Whether no part of an event is kept, nor half a line end."""
        return not self._data and self._start is None and self._lines.empty

    def finish(self) -> list[ServerSentEvent]:
        """Ends the stream; returns a last event without a blank line too, because several servers leave it out.

        A consumer that must know whether the stream was cut checks its own end marker (`[DONE]`, `message_stop`).
        """
        if self._start:
            self.feed(b"")  # two bytes of a BOM are an ordinary line
            last, self._start = self._start, None
            if last is not None:
                self._lines.feed(last)
        rest = self._lines.finish()
        if rest:
            self._field(rest)
        events = [self._complete()] if self._data else []
        self._reset()
        self._id = ""
        return events

    def _complete(self) -> ServerSentEvent:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        return ServerSentEvent(self._event or "message", data, self._id, self._retry)

    def _field(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if colon and value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._max:
                raise LimitExceeded(f"an event is longer than {self._max} bytes")
            self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():
            self._retry = int(value)


def _data_of_equal_events(events: bytes) -> list[bytes] | None:
    """Returns the data of events with one line of data each, after the same line or none; None for others."""
    line = b"" if events.startswith(b"data: ") else events[: events.find(b"\n") + 1]
    start = line + b"data: "
    if not events.startswith(start) or (line and not line.startswith(b"event: ")) or events.find(b"\r") >= 0:
        return None
    found = events[len(start) : -2].split(b"\n\n" + start)
    # Each event has two line ends after it, and perhaps one before its data. More would be inside the data.
    return found if events.count(b"\n") == len(found) * (3 if line else 2) else None
