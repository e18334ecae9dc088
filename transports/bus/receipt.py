"""Receipts: how far a published message got."""

import asyncio
import math
import time
from collections.abc import Generator
from typing import Any, Protocol

import msgspec


class Settled(msgspec.Struct, frozen=True):
    """Count of the subscriptions that saw a message, and of those that did not."""

    seen: int = 0
    """Subscriptions that saw it. A LATEST one has seen it when it was delivered, or overtaken by a newer one."""
    lagging: int = 0
    """Subscriptions that had not seen it when the time was up."""
    lost: int = 0
    """Subscriptions that were lapped; each got a Gap."""
    dead: int = 0
    """Subscriptions whose process ended before they saw it."""
    lagging_members: tuple[str, ...] = ()
    """Ids of the members that `lagging` counts."""
    lost_members: tuple[str, ...] = ()
    """Ids of the members that `lost` counts."""
    dead_members: tuple[str, ...] = ()
    """Ids of the members that `dead` counts."""

    @property
    def complete(self) -> bool:
        """Whether every subscription saw the message."""
        return not (self.lagging or self.lost or self.dead)


class _Settles(Protocol):
    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled: ...


class Receipt(msgspec.Struct, eq=False, gc=False):
    """Receipt of one published message.

    `await receipt` returns when the message is in the ring, and all members have been sent the ring: at once, unless a
    RELIABLE subscriber holds it up, or this member's first messages have just made the ring. Then it is delivered even
    if this process is killed. DeadlineExceeded: it is in the ring, but the registry has not answered for 5 s.
    `settled` asks how far the message got, and costs nothing until it is called.
    """

    _publisher: Any  # _Settles: a Struct looks its annotations up
    topic: str
    """Topic of the message."""
    seq: int
    """Number of the message among those of this member; 0 while it waits for room."""
    published: float
    """Time of publishing, on time.monotonic()."""
    _placed: "asyncio.Future[int] | None" = None

    def __await__(self) -> Generator[Any, None, "Receipt"]:
        if self._placed is not None:
            self.seq = (yield from asyncio.shield(self._placed).__await__()) or self.seq
            self._placed = None
        return self

    async def settled(self, within: float = 1.0) -> Settled:
        """Wait until each subscriber saw the message, lost it or died, for at most `within` seconds."""
        deadline = time.monotonic() + within
        if math.isnan(within):
            raise ValueError(f"`within` is a number of seconds, not {within}")
        publisher: _Settles = self._publisher
        if self._placed is not None and not self.seq:
            try:
                async with asyncio.timeout(within):
                    await self
            except TimeoutError:
                return await publisher.settled(2**63, self.topic, self.published, 0.0)
        return await publisher.settled(self.seq, self.topic, self.published, deadline - time.monotonic())

    def __repr__(self) -> str:
        return f"Receipt(topic={self.topic!r}, seq={self.seq})"


def already_placed(future: "asyncio.Future[int]", receipt: Receipt) -> None:
    """Give a receipt the number of its message, which is in the ring now."""
    if not future.cancelled() and future.exception() is None:
        receipt.seq = future.result()
