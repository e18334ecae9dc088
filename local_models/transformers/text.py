"""Text of an answer, token by token, for any tokenizer: pure.

A token's text may depend on the token before it (a space that only the first word lacks), and a character may take
several tokens. So each text is that of a few tokens, less that of the same tokens without the new one.
"""

from collections.abc import Callable, Sequence

from local_models.engine.text import StopStrings

Decode = Callable[[Sequence[int]], str]
CONTEXT = 6  # tokens before the answer that are decoded with its first one


class TokenText:
    """One answer: takes tokens and returns text that may be shown. `before`: tokens that the answer goes on from."""

    __slots__ = ("_decode", "_shown", "_start", "_stops", "_tokens")

    def __init__(self, decode: Decode, stops: Sequence[str] = (), before: Sequence[int] = ()) -> None:
        self._decode = decode
        self._stops = StopStrings(stops)
        self._tokens = list(before[-CONTEXT:])
        self._start = 0  # first token that is decoded with the next
        self._shown = len(self._tokens)  # tokens whose text was returned

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self._stops.stopped

    def feed(self, token: int) -> str:
        """Adds a token; returns the text that may be shown now."""
        self._tokens.append(token)
        text = self._new_text()
        if text.endswith("\ufffd"):
            return ""  # a part of a character: the next token has more of it
        self._start, self._shown = self._shown, len(self._tokens)
        return self._stops.feed(text)

    def _new_text(self) -> str:
        known = self._decode(self._tokens[self._start : self._shown])
        return self._decode(self._tokens[self._start :])[len(known) :]

    def end(self) -> str:
        """Returns the rest; a character that never became whole is shown as U+FFFD."""
        rest = self._stops.feed(self._new_text() if self._shown < len(self._tokens) else "")
        return rest + ("" if self._stops.stopped else self._stops.end())
