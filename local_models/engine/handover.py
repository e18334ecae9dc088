"""Pieces on their way from the engine's thread to the loops of their callers: at once, or a few of a fast model's together.

Handing over wakes a thread, which costs the engine about 20 us and the loop, which may sit on the engine's own core, 75 us more. A
model that writes a token in 250 us would pay a third of that for nothing that anybody sees.
"""

import os
from collections.abc import Callable

from local_models.engine.tickets import Item, Post, Ticket

# Seconds for which a piece may wait for the next ones. A model that takes longer for a token hands each over as it comes.
TOGETHER = 0.002
# A loop that was woken on this core waits until the engine's slice of it ends, which may be milliseconds.
_offer_core: Callable[[], None] = getattr(os, "sched_yield", lambda: None)


class Handover:
    """One thread's: the engine's."""

    def __init__(self) -> None:
        self._out: dict[Post, list[tuple[Ticket, Item]]] = {}
        self._last = 0.0
        self._begins = False

    def add(self, ticket: Ticket, item: Item) -> None:
        self._out.setdefault(ticket.post, []).append((ticket, item))

    def begins(self) -> None:
        """The first token of a call is among them: somebody waits for it."""
        self._begins = True

    def flush(self, now: float) -> None:
        if not self._out:
            return
        out, self._out = self._out, {}
        for post, items in out.items():
            post(items)
        self._last = now
        if self._begins:
            self._begins = False
            _offer_core()

    def flush_unless_soon(self, now: float, step: float) -> None:
        """`step` seconds from now there is more, of the same calls: they may wait for that if they do not wait long."""
        if now + step > self._last + TOGETHER:
            self.flush(now)
