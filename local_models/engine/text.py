"""Text of an answer from the bytes of its tokens: UTF-8 across token borders, and stop strings. Pure."""

import codecs
from collections.abc import Sequence


class StopStrings:
    """Holds back text that may be the beginning of a stop string, and cuts the text at a whole one."""

    __slots__ = ("_held", "_stops", "stopped")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """Adds text; returns the text that no stop string can still include."""
        if not self._stops:
            return text
        if self.stopped:
            return ""
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(self._overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        for length in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:length]):
                return length
        return 0

    def end(self) -> str:
        """Returns the text that was held back: it turned out to be no stop string."""
        held, self._held = self._held, ""
        return held


class AnswerText:
    """One answer: takes the bytes of tokens and returns text that may be shown."""

    __slots__ = ("_decode", "_stops")

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._stops = StopStrings(stops) if stops else None

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._stops is not None and self._stops.stopped

    def feed(self, piece: bytes) -> str:
        """Adds the bytes of a token; returns the text that may be shown now."""
        text = self._decode(piece)
        return self._stops.feed(text) if self._stops else text

    def end(self) -> str:
        """Returns the rest; a character that never became whole is shown as U+FFFD."""
        text = self._decode(b"", True)
        if self._stops is None:
            return text
        shown = self._stops.feed(text)
        return shown + ("" if self._stops.stopped else self._stops.end())
