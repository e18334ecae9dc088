"""Queries between carriers: each carries a token, and answers with that token go to the code that sent the query."""

import itertools
import secrets
from collections.abc import Callable
from typing import Any


class PendingQueries:
    """Queries of one member that wait for answers."""

    def __init__(self) -> None:
        # Tokens start at random: a `Tick` that answers one member is received by all its subscribers, whose tokens must
        # differ.
        self._tokens = itertools.count(secrets.randbits(62))
        self._callbacks: dict[int, Callable[[str, Any], None]] = {}

    def expect(self, answer: Callable[[str, Any], None]) -> int:
        """Return a token; `answer(member, value)` is called for each answer to it, until `done(token)`."""
        token = next(self._tokens)
        self._callbacks[token] = answer
        return token

    def done(self, token: int) -> None:
        """Take no more answers to a token."""
        self._callbacks.pop(token, None)

    def answered(self, token: int, member: str, value: Any) -> None:
        """Hand the answer of a member to the code that sent the query."""
        answer = self._callbacks.get(token)
        if answer is not None:
            answer(member, value)
