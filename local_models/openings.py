"""Openings: where in an answer a grammar begins to hold, found token by token. Pure.

An answer is free until a mark comes, such as `<tool_call>`, or until its own beginning says what it is, such as
`{"name":`. A mark in the reasoning before the answer is part of a thought and opens nothing.
"""

import re

import msgspec

LONGEST_START = 64  # bytes in which an answer says by its beginning what it is


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """Places behind which a grammar begins."""

    marks: tuple[str, ...] = ()  #: texts, each of one token or of several
    start: str = ""  #: regular expression of the beginning of an answer; empty: none
    thinks: tuple[str, str] | None = None  #: marks around the reasoning before an answer
    inside: bool = False  #: whether the prompt has begun the reasoning


class OpeningWatch:
    """Watches one answer; `feed` takes the bytes of each token."""

    __slots__ = ("_at_start", "_close", "_inside", "_keep", "_marks", "_open", "_start", "_tail")

    def __init__(self, opening: Opening) -> None:
        self._marks = [mark.encode() for mark in opening.marks]
        self._start = re.compile(opening.start.encode()) if opening.start else None
        self._open, self._close = (mark.encode() for mark in opening.thinks or ("", ""))
        self._inside = opening.inside
        self._at_start = True
        self._tail = b""
        self._keep = max(map(len, [*self._marks, self._close, b"."])) - 1

    def feed(self, piece: bytes) -> bytes | None:
        """Returns what the token has behind the place where the grammar begins; None: that has not come."""
        text: bytes | None = self._tail + piece
        if self._at_start and not self._inside:
            text = self._without_thought(text or b"")
        if self._inside and text is not None:
            text = self._behind_thought(text)
        if text is None:
            return None
        if self._at_start:
            begun = text.lstrip()
            if self._start is not None and (found := self._start.match(begun)) is not None:
                return begun[found.end() :]
            self._at_start = len(begun) < LONGEST_START and self._may_begin(begun)
        places = [(at, mark) for mark in self._marks if (at := text.find(mark)) >= 0]
        if places:
            at, mark = min(places)
            return text[at + len(mark) :]
        self._tail = text if self._at_start else text[max(len(text) - self._keep, 0) :]
        return None

    def _without_thought(self, text: bytes) -> bytes:
        """The text behind the mark that begins the reasoning, if the answer begins with it."""
        begun = text.lstrip()
        if self._open and begun.startswith(self._open):
            self._inside = True
            return begun[len(self._open) :]
        return text

    def _behind_thought(self, text: bytes) -> bytes | None:
        at = text.find(self._close)
        if at < 0:
            self._tail = text[max(len(text) - self._keep, 0) :]
            return None
        self._inside, self._open = False, b""
        return text[at + len(self._close) :]

    def _may_begin(self, begun: bytes) -> bool:
        """Whether the answer may still turn out to begin with something that counts at its beginning alone."""
        braces = self._start is not None and begun.startswith(b"{")
        return not begun or braces or bool(self._open and self._open.startswith(begun))
