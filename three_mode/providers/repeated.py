"""Template of repeated events: reads only the text of events that differ in nothing but their text.

Nearly all events of an answer are the same bytes around one JSON string. After one event with text and nothing else was
decoded, its bytes before and after that string are kept as a template. An event with the same bytes around another JSON
string is the same value with another text: JSON allows no other reading. Any other event is decoded as a whole.

OpenAI pads its events to a random length (`obfuscation`): a second string that may differ and is ignored.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from three_mode.messages import Chunk, TextDelta

OnlyText = Callable[[Any], TextDelta | None]
PADDING = "obfuscation"
TRIES = 4  # to find a template in one stream
UNREADABLE = (KeyError, TypeError, AttributeError, IndexError, ValueError, ArithmeticError, RecursionError)
_PROBE = "\x00 another text"
_decode = msgspec.json.decode
_string: Callable[[bytes], str] = msgspec.json.Decoder(str).decode
_encode = msgspec.json.encode


class EventTemplate:
    """Template of the events of one stream.

    `only_text` returns the chunk of an event that carries text and nothing else, and None for any other event.
    """

    __slots__ = ("_after", "_before", "_index", "_middle", "_only_text", "_tries")

    def __init__(self, only_text: OnlyText) -> None:
        self._only_text = only_text
        self._tries = TRIES
        self._before: bytes | None = None
        self._middle: bytes | None = None  # between the text and the padding, where there is one
        self._after = b""
        self._index = 0

    def read_matching(self, events: Sequence[bytes], at: int, out: list[Chunk]) -> int:
        """Reads events that match the template, from number `at` on; returns the number of the first other event."""
        before, middle, after, index = self._before, self._middle, self._after, self._index
        if before is None:
            return at
        text_start, after_size = len(before), len(after)
        for number in range(at, len(events)):
            event = events[number]
            if not (event.startswith(before) and event.endswith(after)):
                return number
            stop = len(event) - after_size
            try:
                if middle is not None:
                    end = event.find(middle, text_start)
                    if end < 0:
                        return number
                    _string(event[end + len(middle) : stop])
                    stop = end
                text = _string(event[text_start:stop])
            except UNREADABLE:
                return number
            if not text:
                return number
            out.append(TextDelta(text, index))
        return len(events)

    def take_from(self, event: bytes, chunk: Chunk) -> None:
        """Takes the template from an event that was decoded to `chunk` alone, if it carries only text."""
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
        except UNREADABLE:  # the match was no JSON string
            return
        if alike and after:
            self._before, self._middle, self._after, self._index = before, middle, after, chunk.index


def _around(event: bytes, text: str) -> tuple[bytes, bytes]:
    """Bytes before and after the text in an event, if it occurs plainly and once; otherwise empty bytes."""
    before, found, after = event.partition(_encode(text))
    return (before, after) if found and after.find(_encode(text)) < 0 else (b"", b"")
