"""One page that reads: what it looks at, and a bounded queue of what it is told.

A page that reads too slowly loses the oldest, is told how many (`gap`), and gets the whole table again.
"""

import msgspec

from three_mode.events.queue import EventQueue

WAITING = 32  # messages that wait for one page
_GAP = "gap"


class PageReader:
    """One page. `has` says which table it has: changes are told against that one."""

    def __init__(self, waiting: int = WAITING) -> None:
        self._queue: EventQueue[bytes] = EventQueue(waiting, gap_text)
        self.at: frozenset[str] = frozenset()
        self.agent = ""
        self.has: dict[str, int] = {}
        """View -> number of what this page knows of it; none where it knows nothing."""

    @property
    def lost(self) -> int:
        """Messages that this page has lost."""
        return self._queue.dropped

    def put(self, text: bytes) -> bool:
        """Tell the page; False where an older message had to go, and with it all that the page knows."""
        fits = self._queue.put(text)
        if not fits:
            self.has.clear()
        return fits

    async def get(self) -> bytes | None:
        """The next message, or the gap before it; None at the end."""
        return await self._queue.get()

    def end(self) -> None:
        """Tell nothing more."""
        self._queue.end()


def gap_text(count: int) -> bytes:
    """Return what a page is told that has lost so many messages."""
    return msgspec.json.encode({"kind": _GAP, "count": count})
