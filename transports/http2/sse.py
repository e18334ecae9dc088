"""Server-sent events from bytes, as the WHATWG says: lines end in CR, LF or CRLF and in nothing else.

    decoder = SSEDecoder()
    async for data in response.body:
        for event in decoder.feed(data):
            ...event.event, event.data...

Works on bytes: `str.splitlines` would split on U+2028 and cut characters. Any split of the input gives the same events.
Time is linear in the input: no byte is scanned twice. Memory is bounded: one event may hold `max_event` bytes.
"""

from typing import NamedTuple

from transports.http2.errors import LimitExceeded

DEFAULT_MAX_EVENT = 16 * 1024 * 1024
BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event. `data` stays bytes, so that JSON is decoded from it without a detour through text."""

    event: str
    data: bytes
    id: str
    retry: int | None


class LineSplitter:
    """Bytes in, lines out, without their ends. A CR at the end of a piece may be half of a CRLF: it is remembered."""

    __slots__ = ("_after_cr", "_max", "_pending", "_size", "_what")

    def __init__(self, max_line: int, what: str) -> None:
        self._pending: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._max = max_line
        self._what = what

    def feed(self, data: bytes) -> list[bytes]:
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
        # Lines are checked with the rest: a long line that came whole is as long as one that came in pieces.
        if self._size > self._max or (lines and max(map(len, lines)) > self._max):
            raise LimitExceeded(f"{self._what} is longer than {self._max} bytes")
        return lines

    @property
    def empty(self) -> bool:
        """Nothing waits for its end."""
        return not self._pending and not self._after_cr

    def finish(self) -> bytes:
        """What came after the last line end."""
        rest = b"".join(self._pending)
        self._pending.clear()
        self._size = 0
        return rest


class SSEDecoder:
    """`feed(bytes) -> events`. After `finish()` it can be used for another stream."""

    __slots__ = ("_data", "_event", "_id", "_lines", "_max", "_retry", "_size", "_start")

    def __init__(self, max_event: int = DEFAULT_MAX_EVENT) -> None:
        self._max = max_event
        self._id = ""
        self._reset()

    def _reset(self) -> None:
        self._lines = LineSplitter(self._max, "a line of the event stream")
        self._start: bytes | None = b""  # the first three bytes, until it is known whether they are a BOM
        self._clear()

    def _clear(self) -> None:
        self._event = ""
        self._data: list[bytes] = []
        self._size = 0
        self._retry: int | None = None

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that these bytes complete."""
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
        """`feed` for those who want the data of events and nothing else. Events that came whole and begin alike are cut out in one go."""
        found: list[bytes] = []
        if not self._between():
            cut = data.find(b"\n\n") + 2 or len(data)
            found += [event.data for event in self.feed(data[:cut])]
            data = data[cut:]
        if self._between() and len(data) <= self._max:
            cut = data.rfind(b"\n\n") + 2
            if cut > 1:
                found += self._data_of(data[:cut])
                data = data[cut:]
        if data:
            found += [event.data for event in self.feed(data)]
        return found

    def _data_of(self, events: bytes) -> list[bytes]:
        """The data of events that are here to the end of the last one."""
        alike = _data_of_alike(events)
        if alike is not None:
            return alike
        *each, _ = events.split(b"\n\n")
        if len(each) == 1:
            return [event.data for event in self.feed(events)]
        return [data for event in each for data in self._data_of(event + b"\n\n")]

    def _between(self) -> bool:
        """Nothing is here of an event, nor half a line end."""
        return not self._data and self._start is None and self._lines.empty

    def finish(self) -> list[ServerSentEvent]:
        """The stream has ended. An event whose blank line never came is given too: several servers leave it out.

        A consumer that must know whether the stream was cut looks at its own end marker (`[DONE]`, `message_stop`).
        """
        if self._start:
            self.feed(b"")  # two bytes of a BOM are a line like any other
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


def _data_of_alike(events: bytes) -> list[bytes] | None:
    """The data of events that have one line of it each, and the same line before it or none; None of any others."""
    line = b"" if events.startswith(b"data: ") else events[: events.find(b"\n") + 1]
    start = line + b"data: "
    if not events.startswith(start) or (line and not line.startswith(b"event: ")) or events.find(b"\r") >= 0:
        return None
    found = events[len(start) : -2].split(b"\n\n" + start)
    # Each has the two line ends after it, and perhaps one in its start: were there more, one would be within the data.
    return found if events.count(b"\n") == len(found) * (3 if line else 2) else None
