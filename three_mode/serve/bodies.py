"""Bodies that are being read: all of them together stay within one number of bytes.

A body that comes whole at once is not counted. Of those that come in pieces the oldest is given up when there are too
many bytes, so that clients who send half a body and wait cannot keep others from sending theirs.
"""

from three_mode.serve.watching import Limited


class Bodies:
    """The bodies of one endpoint that are being read."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[Limited, int] = {}  # the oldest first
        self.total = 0

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, block: Limited, size: int) -> None:
        """The body that is read in this block has so many bytes more."""
        self._held[block] = self._held.get(block, 0) + size
        self.total += size
        while self.total > self.limit and self._held:
            oldest = next(iter(self._held))
            self.release(oldest)
            oldest.cut_short()

    def release(self, block: Limited) -> None:
        """The body is whole, or given up."""
        self.total -= self._held.pop(block, 0)
