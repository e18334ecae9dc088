"""Receipts on rings: how far each subscriber's process got is in its page; nobody has to answer.

Publishing pays nothing for it. Asking costs a round trip to the registry (so that everybody who subscribed before is
known), one page per member the first time, and then reads of memory until all have seen the message or time is up.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol

from transports.bus.carrier import ReaderStatus
from transports.bus.directory import Directory
from transports.bus.errors import BusError
from transports.bus.pubsub.tally import Departed, tally
from transports.bus.receipt import Settled
from transports.bus.rings.native import Segment
from transports.bus.rings.peer import DepartedPage

_FIRST_NAP, _LONGEST_NAP = 0.0001, 0.005


class Publisher(Protocol):
    id: str
    directory: Directory

    def page_for_settling(self) -> tuple[int, Segment, int]: ...
    def departed(self) -> Sequence[DepartedPage]: ...
    async def fetch_page(self, member: str) -> Segment: ...
    async def sync(self) -> None: ...


def verdict(page: Segment | None, slot: int, ring: int, seq: int) -> str:
    """What a page says about message `seq` of ring `ring`: "seen", "lost" or "lagging"."""
    if page is None:
        return "lagging"
    uid, _, handled, _, gaps, last_gaps, _, _ = page.entry(slot)
    if uid != ring or handled < seq:
        return "lagging"
    if any(first <= seq <= last for first, last in last_gaps):
        return "lost"
    if gaps > len(last_gaps) and seq < last_gaps[0][0]:
        return "lost"  # older gaps are no longer listed: what is not known to be seen counts as lost
    return "seen"


class Settling:
    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._pages: dict[str, Segment] = {}

    def page_of(self, member: str) -> Segment | None:
        return self._pages.get(member)

    def forget(self, member: str) -> None:
        self._pages.pop(member, None)

    async def _page(self, member: str) -> Segment | None:
        page = self._pages.get(member)
        if page is None:
            if member == self._publisher.id:
                page = self._publisher.page_for_settling()[1]
            else:
                try:
                    page = await self._publisher.fetch_page(member)
                except BusError:
                    return None  # it has just gone; the directory will say so
            self._pages[member] = page
        return page

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        deadline = time.monotonic() + within
        try:
            async with asyncio.timeout(within):
                await self._publisher.sync()
                await self._fetch_pages(topic)
        except (TimeoutError, BusError):
            pass  # what is known already is told
        nap = _FIRST_NAP
        while True:
            result = self._look(seq, topic, published)
            left = deadline - time.monotonic()
            if not result.lagging or left <= 0:
                return result
            await asyncio.sleep(min(nap, left))
            nap = min(2 * nap, _LONGEST_NAP)

    async def _fetch_pages(self, topic: str) -> None:
        directory = self._publisher.directory
        wanted = [m for m in directory.members if m not in self._pages and directory.subscribers(m, topic)]
        await asyncio.gather(*(self._page(member) for member in wanted))

    def _look(self, seq: int, topic: str, published: float) -> Settled:
        slot, _, ring = self._publisher.page_for_settling()
        pages = {gone.info.id: gone.page for gone in self._publisher.departed()} | self._pages
        verdicts = {member: verdict(page, slot, ring, seq) for member, page in pages.items()}
        gone = [Departed(one.info, one.patterns, one.at, "lagging") for one in self._publisher.departed()]
        return tally(self._publisher.directory, topic, published, verdicts, gone)

    async def readers(self, newest: int) -> list[ReaderStatus]:
        """Every subscribed member and how far it is behind."""
        directory = self._publisher.directory
        slot, _, ring = self._publisher.page_for_settling()
        status = []
        for member, info in list(directory.members.items()):
            page = await self._page(member) if directory.patterns(member) else None
            if page is not None:
                uid, _, handled, lost, gaps, *_ = page.entry(slot)
                lag = newest - handled if uid == ring else newest
                status.append(ReaderStatus(member, info.label, max(0, lag), lost, gaps))
        return status
