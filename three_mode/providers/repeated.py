"""Events of a stream that differ in their text and in nothing else, of which only that text is read.

Nearly all events of an answer are the same bytes around one JSON string. When one of them was read, and says a text and nothing
else, its bytes before and after that string are kept. An event with the same bytes around another JSON string is the same value with
another text: JSON leaves no other way to read it. Whatever is not such an event is read as a whole.

OpenAI fills its events up to a random length (`obfuscation`): a second string that may differ, and says nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from three_mode.messages import Chunk, TextDelta

OnlyText = Callable[[Any], TextDelta | None]
PADDING = "obfuscation"
TRIES = 4  # in a stream whose events differ in more than that
UNREADABLE = (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError, RecursionError)
_PROBE = "\x00 another text"
_decode = msgspec.json.decode
_string: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode


class Repeated:
    """What one stream repeats. `only_text` gives the chunk of an event that says a text and nothing else, and None for any other."""

    __slots__ = ("_after", "_before", "_index", "_middle", "_only_text", "_tries")

    def __init__(self, only_text: OnlyText) -> None:
        self._only_text = only_text
        self._tries = TRIES
        self._before: bytes | None = None
        self._middle: bytes | None = None  # between the text and the padding, where there is one
        self._after = b""
        self._index = 0

    def follow(self, events: Sequence[bytes], at: int, out: list[Chunk]) -> int:
        """Reads events that are repeated, from that one on; the number of the first that is not."""
        before, middle, after, index = self._before, self._middle, self._after, self._index
        if before is None:
            return at
        begins, ends = len(before), len(after)
        for number in range(at, len(events)):
            event = events[number]
            if not (event.startswith(before) and event.endswith(after)):
                return number
            stop = len(event) - ends
            try:
                if middle is not None:
                    end = event.find(middle, begins)
                    if end < 0:
                        return number
                    _string(event[end + len(middle) : stop])
                    stop = end
                text = _string(event[begins:stop])
            except UNREADABLE:
                return number
            if not text:
                return number
            out.append(TextDelta(text, index))
        return len(events)

    def learn(self, event: bytes, chunk: Chunk) -> None:
        """That event was read, and gave that chunk alone."""
        if not self._tries or type(chunk) is not TextDelta:
            return
        self._tries -= 1
        value = _decode(event)
        if self._only_text(value) == chunk:
            self._keep(event, chunk, value.get(PADDING))

    def _keep(self, event: bytes, chunk: TextDelta, padding: object) -> None:
        before, after = _around(event, chunk.text)
        middle: bytes | None = None
        if type(padding) is str:
            middle, after = _around(after, padding)
            probe = before + _encode(_PROBE) + middle + _encode(_PROBE) + after
        else:
            probe = before + _encode(_PROBE) + after
        try:
            alike = self._only_text(_decode(probe)) == TextDelta(_PROBE, chunk.index)
        except UNREADABLE:  # the string was found where it is not one
            return
        if alike and after:
            self._before, self._middle, self._after, self._index = before, middle, after, chunk.index


def _around(event: bytes, text: str) -> tuple[bytes, bytes]:
    """The bytes before and after that string, as they are where it is written plainly and once; else nothing."""
    before, found, after = event.partition(_encode(text))
    return (before, after) if found and after.find(_encode(text)) < 0 else (b"", b"")
