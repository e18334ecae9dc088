"""Questions between carriers: a token goes out with each, and whatever comes back with it goes to who asked."""

import itertools
import secrets
from collections.abc import Callable
from typing import Any


class PendingQueries:
    def __init__(self) -> None:
        # Another member's: what a writer says to whoever asked for its way (`Tick`) is heard by all who listen to it.
        self._tokens = itertools.count(secrets.randbits(62))
        self._asking: dict[int, Callable[[str, Any], None]] = {}

    def expect(self, answer: Callable[[str, Any], None]) -> int:
        """A token: `answer(member, what)` is called for each answer to it, until `done(token)`."""
        token = next(self._tokens)
        self._asking[token] = answer
        return token

    def done(self, token: int) -> None:
        self._asking.pop(token, None)

    def told(self, token: int, member: str, what: Any) -> None:
        answer = self._asking.get(token)
        if answer is not None:
            answer(member, what)
