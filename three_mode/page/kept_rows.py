"""Rows of a list that grows: a page that knows nothing gets all that are kept, and others those that are new."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from three_mode.page.readers import PageReader

KEPT = 2000  # rows that a new page gets


class KeptRows:
    """The last rows of one view, the newest last."""

    def __init__(self, view: str, most: int = KEPT) -> None:
        self._view = view
        self._rows: deque[Sequence[Any]] = deque(maxlen=most)
        self._number = 0  # of the last row

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: Sequence[Any]) -> None:
        """Add a row; the oldest goes where there are too many."""
        self._rows.append(row)
        self._number += 1

    def tell(self, readers: Sequence[PageReader], **more: Any) -> None:
        """Tell each page what it does not know."""
        for reader in readers:
            known = reader.has.get(self._view)
            count = len(self._rows) if known is None else min(self._number - known, len(self._rows))
            if count or known is None:
                rows = list(self._rows)[len(self._rows) - count :]
                reader.put(msgspec.json.encode({"kind": self._view, "whole": known is None, "rows": rows, **more}))
            reader.has[self._view] = self._number
