"""From a token's bytes to text that may be shown: UTF-8 across token borders, and stop strings. Pure."""

import codecs
from collections.abc import Sequence


class StopStrings:
    """Holds back what may be the beginning of a stop string, and cuts the text where one is whole."""

    __slots__ = ("_held", "_stops", "stopped")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What of the text so far may be shown now."""
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
        """What was held back and turned out to be no stop."""
        held, self._held = self._held, ""
        return held


class AnswerText:
    """One answer: bytes in, showable text out."""

    __slots__ = ("_decode", "_stops")

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._stops = StopStrings(stops) if stops else None

    @property
    def stopped(self) -> bool:
        return self._stops is not None and self._stops.stopped

    def feed(self, piece: bytes) -> str:
        text = self._decode(piece)
        return self._stops.feed(text) if self._stops else text

    def end(self) -> str:
        """The rest; a character that never became whole is shown as U+FFFD."""
        text = self._decode(b"", True)
        if self._stops is None:
            return text
        shown = self._stops.feed(text)
        return shown + ("" if self._stops.stopped else self._stops.end())
