"""Handover of pieces from the engine's thread to event loops: each at once, or a few of a fast model together.

A handover wakes a thread. That costs the engine about 20 us, and the loop, which may share the engine's core, 75 us
more. A model that writes a token in 250 us would spend a third of its time on wake-ups that no reader notices.
"""

import os
from collections.abc import Callable

from local_models.engine.tickets import Item, Post, Ticket

# Seconds that a piece may wait for the next ones. A model that needs longer for a token hands over each piece at once.
TOGETHER = 0.002
# A loop that was woken on the engine's core waits until the engine's time slice ends, which may be milliseconds.
_yield_core: Callable[[], None] = getattr(os, "sched_yield", lambda: None)


class Handover:
    """Collects pieces and errors by where they go. Used by the engine's thread only."""

    def __init__(self) -> None:
        self._items: dict[Post, list[tuple[Ticket, Item]]] = {}
        self._flushed_at = 0.0
        self._first_token = False

    def add(self, ticket: Ticket, item: Item) -> None:
        """Adds a piece, or the error that ends a call, to the next flush."""
        self._items.setdefault(ticket.post, []).append((ticket, item))

    def begins(self) -> None:
        """Notes that the first token of a call is among the pieces: the flush then yields the core to its reader."""
        self._first_token = True

    def flush(self, now: float) -> None:
        """Hands over all that was added; `now` is in seconds of `time.perf_counter`."""
        if not self._items:
            return
        pending, self._items = self._items, {}
        for post, items in pending.items():
            post(items)
        self._flushed_at = now
        if self._first_token:
            self._first_token = False
            _yield_core()

    def flush_unless_soon(self, now: float, step: float) -> None:
        """Flushes, unless the pieces can wait for those of the next step, `step` seconds from now."""
        if now + step > self._flushed_at + TOGETHER:
            self.flush(now)
