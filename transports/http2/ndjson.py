"""NDJSON decoder: splits bytes into lines of one JSON value each, and drops blank lines (keep-alives).

    decoder = NDJSONDecoder()
    async for data in response.body:
        for line in decoder.feed(data):
            value = json.loads(line)

Lines end in CR, LF or CRLF: JSON escapes all three inside strings, so the split is safe. Linear time, bounded lines.
"""

from transports.http2.sse import DEFAULT_MAX_EVENT, LineSplitter


class NDJSONDecoder:
    """Splitter of a stream into lines, each ready for a JSON decoder: `feed(bytes) -> lines`.

    `max_line`: bytes of the longest line (default 16 MiB); a longer one is LimitExceeded.
    """

    __slots__ = ("_lines", "_max")

    def __init__(self, max_line: int = DEFAULT_MAX_EVENT) -> None:
        self._max = max_line
        self._lines = LineSplitter(max_line, "a line of the NDJSON stream")

    def feed(self, data: bytes) -> list[bytes]:
        """Adds bytes; returns the lines that they complete."""
        return [line for line in self._lines.feed(data) if line and not line.isspace()]

    def finish(self) -> list[bytes]:
        """Ends the stream; returns a last line that had no line end."""
        rest = self._lines.finish()
        self._lines = LineSplitter(self._max, "a line of the NDJSON stream")
        return [rest] if rest.strip() else []
