"""The map: hosts, agents, and what they do."""

from collections.abc import Sequence

from three_mode.errors import ThreeModeError
from three_mode.page import table as tables
from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem

TABLES_A_SECOND = 2


class MapView:
    """The table of hosts and agents: whole for a page that has none, else what has changed."""

    name = "map"
    every = 1.0 / TABLES_A_SECOND

    def __init__(self, system: WatchedSystem) -> None:
        self._system = system
        self._number = 0
        self._rows: list[tuple[str, ...]] = []
        self._last: tables.ShownTable | None = None

    async def tell(self, readers: Sequence[PageReader]) -> None:
        try:
            now = tables.shown(await self._system.table())
        except ThreeModeError:  # the next one may have other processes under the same names
            self.left()
            raise
        before, self._last = self._last, now
        rows = now.rows
        if before is None or rows != self._rows:
            self._number += 1
            self._rows, before = rows, None
        self._give(readers, before, now)

    def _give(self, readers: Sequence[PageReader], before: tables.ShownTable | None, now: tables.ShownTable) -> None:
        whole: bytes | None = None
        changed: bytes | None = None
        for reader in readers:
            if before is not None and reader.has.get(self.name) == self._number:
                changed = changed or tables.change(before, now, self._number)
                reader.put(changed)
                continue
            whole = whole or tables.whole(now, self._number)
            reader.put(whole)
            reader.has[self.name] = self._number

    def left(self) -> None:
        self._last = None
        self._rows = []
