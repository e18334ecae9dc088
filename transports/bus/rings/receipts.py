"""Receipts on rings: the page of each subscribed member says how far it has read, so that no member has to answer.

Publishing costs nothing more. Asking costs a round trip to the registry (so that all earlier subscribers are known),
one page for each member the first time, and then reads of memory until all have seen the message or the time is up.
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

_FIRST_NAP, _LONGEST_NAP = 0.0001, 0.005  # seconds between two looks at the pages


class RingPublisher(Protocol):
    """The publishing member; `RingsCarrier` says what each method does."""

    id: str
    directory: Directory

    def page_for_receipts(self) -> tuple[int, Segment, int]: ...
    def departed(self) -> Sequence[DepartedPage]: ...
    async def fetch_page(self, member: str) -> Segment: ...
    async def sync(self) -> None: ...


def verdict(page: Segment | None, slot: int, ring: int, seq: int) -> str:
    """Read the verdict of a page on message `seq` of ring `ring`: "seen", "lost" or "lagging"."""
    if page is None:
        return "lagging"
    uid, _, handled, _, gaps, last_gaps, *_ = page.entry(slot)
    if uid != ring or handled < seq or (gaps and not last_gaps):  # the last: its gaps change at this moment
        return "lagging"
    if any(first <= seq <= last for first, last in last_gaps):
        return "lost"
    if gaps > len(last_gaps) and seq < last_gaps[0][0]:
        return "lost"  # older gaps are no longer listed: a message that may be in one counts as lost
    return "seen"


class RingReceipts:
    """Receipts of one member's messages."""

    def __init__(self, publisher: RingPublisher) -> None:
        self._publisher = publisher
        self._pages: dict[str, Segment] = {}

    def page_of(self, member: str) -> Segment | None:
        """Return the page of a member, if it is mapped."""
        return self._pages.get(member)

    def forget(self, member: str) -> None:
        """Drop the page of a member."""
        self._pages.pop(member, None)

    async def _page(self, member: str) -> Segment | None:
        page = self._pages.get(member)
        if page is None:
            if member == self._publisher.id:
                page = self._publisher.page_for_receipts()[1]
            else:
                try:
                    page = await self._publisher.fetch_page(member)
                except BusError:
                    return None  # the member has just gone, which the directory will report
            self._pages[member] = page
        return page

    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled:
        """Ask how far message `seq` got, for at most `within` seconds."""
        deadline = time.monotonic() + within
        try:
            async with asyncio.timeout(within):
                await self._publisher.sync()
                await self._fetch_pages(topic)
        except (TimeoutError, BusError):
            pass  # the result is made of what is known already
        nap = _FIRST_NAP
        while True:
            result = self._count(seq, topic, published)
            left = deadline - time.monotonic()
            if not result.lagging or left <= 0:
                return result
            await asyncio.sleep(min(nap, left))
            nap = min(2 * nap, _LONGEST_NAP)

    async def _fetch_pages(self, topic: str) -> None:
        directory = self._publisher.directory
        wanted = [m for m in directory.members if m not in self._pages and directory.subscribers(m, topic)]
        await asyncio.gather(*(self._page(member) for member in wanted))

    def _count(self, seq: int, topic: str, published: float) -> Settled:
        slot, _, ring = self._publisher.page_for_receipts()
        pages = {gone.info.id: gone.page for gone in self._publisher.departed()} | self._pages
        verdicts = {member: verdict(page, slot, ring, seq) for member, page in pages.items()}
        gone = [Departed(page.info, page.patterns, page.at, "lagging") for page in self._publisher.departed()]
        return tally(self._publisher.directory, topic, published, verdicts, gone)

    async def readers(self, newest: int) -> list[ReaderStatus]:
        """Return how far each subscribed member is behind."""
        directory = self._publisher.directory
        slot, _, ring = self._publisher.page_for_receipts()
        status = []
        for member, info in list(directory.members.items()):
            page = await self._page(member) if directory.patterns(member) else None
            if page is not None:
                uid, _, handled, lost, gaps, *_ = page.entry(slot)
                lag = newest - handled if uid == ring else newest
                status.append(ReaderStatus(member, info.label, max(0, lag), lost, gaps))
        return status
