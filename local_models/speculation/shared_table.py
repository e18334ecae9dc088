"""Shared table: what followed four tokens the last time that any agent of a model wrote them. Pure.

Agents with one task write the same names of fields, openings and calls of tools. The table has a fixed number of
places; a place is found by a hash of four tokens, and keeps the newest entry. What it proposes is never seen: a token
that the model itself would not have chosen is refused.
"""

from collections.abc import Sequence

import numpy as np

LENGTH = 4  # tokens before the one that is looked up
PLACES = 1 << 17  # 1 MiB
_FACTOR, _MIX = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9
_ALL = (1 << 64) - 1
_MARK = 0x7FFFFFFF  # bits of the hash that an entry keeps, so that it answers for its own tokens alone
_TOKEN = 32  # bits of a token in an entry


class SharedTable:
    """Table of all calls of a model."""

    def __init__(self, places: int = PLACES) -> None:
        self._entries = np.full(places, -1, np.int64)
        self._view = self._entries.data  # to read a single entry of an array takes three times as long
        self._mask = places - 1

    def learn(self, tokens: Sequence[int], start: int) -> None:
        """Enters the tokens of a text from `start` on, each under the four before it."""
        start = max(start, LENGTH)
        if len(tokens) <= start:
            return
        text = np.array(tokens[start - LENGTH :], np.uint64)
        count = len(text) - LENGTH
        hashes = np.zeros(count, np.uint64)
        for at in range(LENGTH):
            hashes *= np.uint64(_FACTOR)
            hashes += text[at : at + count]
        hashes ^= hashes >> np.uint64(29)
        hashes *= np.uint64(_MIX)
        hashes ^= hashes >> np.uint64(32)
        marks = (hashes >> np.uint64(32)) & np.uint64(_MARK)
        entries = (marks << np.uint64(_TOKEN)) | text[LENGTH:]
        self._entries[hashes & np.uint64(self._mask)] = entries.astype(np.int64)

    def propose(self, tokens: Sequence[int], most: int) -> list[int]:
        """Returns up to `most` tokens that followed the last ones of a text; as many as are known."""
        found: list[int] = []
        if len(tokens) < LENGTH:
            return found
        last = list(tokens[-LENGTH:])
        while len(found) < most:
            value = 0
            for token in last:
                value = (value * _FACTOR + token) & _ALL
            value ^= value >> 29
            value = (value * _MIX) & _ALL
            value ^= value >> 32
            entry = self._view[value & self._mask]
            if entry < 0 or entry >> _TOKEN != (value >> 32) & _MARK:
                break
            token = entry & 0xFFFFFFFF
            found.append(token)
            last = [*last[1:], token]
        return found
