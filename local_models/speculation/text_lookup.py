"""Text lookup: proposes the next tokens of a text from an earlier place in it that reads alike. Pure.

An answer that edits, extracts or quotes repeats long parts of its prompt. The last tokens are searched in the text
before them, and what followed there is proposed. While the text goes on as it did there, nothing is searched again.
"""

from array import array
from collections.abc import Sequence

LONG, SHORT = 4, 2  # last tokens that are searched: first so many, then fewer
LONGEST = 32  # tokens up to which a likeness is counted
_WIDTH = array("i").itemsize


class TextLookup:
    """Text of one call, and the place in it whose continuation is proposed."""

    __slots__ = ("_place", "_text", "alike")

    def __init__(self) -> None:
        self._text = array("i")
        self._place = -1  # of the token that is proposed first; -1: there is none
        self.alike = 0
        """Last tokens of the text that are like those before the place; 0 where there is no place."""

    def __len__(self) -> int:
        return len(self._text)

    def extend(self, tokens: Sequence[int]) -> None:
        """Adds tokens to the text. The place moves along while they are those that followed it."""
        text = self._text
        if self._place < 0:
            text.extend(tokens)
            return
        for token in tokens:
            if self._place >= 0 and text[self._place] == token:
                self._place += 1
                self.alike += 1
            else:
                self._place, self.alike = -1, 0
            text.append(token)

    def propose(self, most: int) -> list[int]:
        """Returns up to `most` tokens that followed where the text was alike; none where it never was.

        Where they reach the end of the text, the text repeats itself, and so do they.
        """
        if self._place < 0:
            self._search()
        if self._place < 0:
            return []
        found = self._text[self._place : self._place + most].tolist()
        while len(found) < most:
            found += found[: most - len(found)]
        return found

    def _search(self) -> None:
        """Finds the latest place that has tokens like the last ones before it."""
        text, end = self._text.tobytes(), (len(self._text) - 1) * _WIDTH
        for length in (LONG, SHORT):
            if len(self._text) <= length:
                continue
            last = text[-length * _WIDTH :]
            found = text.rfind(last, 0, end)
            while found >= 0 and found % _WIDTH:  # between two tokens
                found = text.rfind(last, 0, found + len(last) - 1)
            if found >= 0:
                self._place = found // _WIDTH + length
                self.alike = self._count_alike(length)
                return

    def _count_alike(self, known: int) -> int:
        text, count = self._text, known
        most = min(LONGEST, self._place)
        while count < most and text[self._place - 1 - count] == text[-1 - count]:
            count += 1
        return count
