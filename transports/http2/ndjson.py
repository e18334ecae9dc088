"""Newline-delimited JSON from bytes: each line is one value, blank lines (keep-alives) are none.

    decoder = NDJSONDecoder()
    async for data in response.body:
        for line in decoder.feed(data):
            value = json.loads(line)

Lines end in CR, LF or CRLF: JSON escapes all three inside strings, so the split is safe. Linear time, bounded lines.
"""

from transports.http2.sse import DEFAULT_MAX_EVENT, LineSplitter


class NDJSONDecoder:
    """`feed(bytes) -> lines`, each ready for a JSON decoder."""

    __slots__ = ("_lines", "_max")

    def __init__(self, max_line: int = DEFAULT_MAX_EVENT) -> None:
        self._max = max_line
        self._lines = LineSplitter(max_line, "a line of the NDJSON stream")

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete."""
        return [line for line in self._lines.feed(data) if line and not line.isspace()]

    def finish(self) -> list[bytes]:
        """The last line, where it had no end."""
        rest = self._lines.finish()
        self._lines = LineSplitter(self._max, "a line of the NDJSON stream")
        return [rest] if rest.strip() else []
