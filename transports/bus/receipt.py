"""What became of a published message."""

import asyncio
import time
from collections.abc import Generator
from typing import Any, Protocol

import msgspec


class Settled(msgspec.Struct, frozen=True):
    """How many subscriptions saw a message. A LATEST subscription has seen it when it was delivered or overtaken."""

    seen: int = 0
    lagging: int = 0  # not there yet when the time was up
    lost: int = 0  # lapped: they were told so by a Gap
    dead: int = 0  # their process ended before they saw it
    lagging_members: tuple[str, ...] = ()
    lost_members: tuple[str, ...] = ()
    dead_members: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every subscription saw the message."""
        return not (self.lagging or self.lost or self.dead)


class _Publisher(Protocol):
    async def settled(self, seq: int, topic: str, published: float, within: float) -> Settled: ...


class Receipt(msgspec.Struct, eq=False, gc=False):
    """Of one published message. `await receipt` returns when it is in the ring, which is at once unless a RELIABLE
    subscriber holds it up; `settled` asks how far it got, and costs nothing until it is called."""

    _publisher: Any  # _Publisher: a Struct looks its annotations up
    topic: str
    seq: int  # its number among this member's messages; 0 while it waits for room
    published: float  # time.monotonic()
    _placed: "asyncio.Future[int] | None" = None

    def __await__(self) -> Generator[Any, None, "Receipt"]:
        if self._placed is not None:
            self.seq = yield from asyncio.shield(self._placed).__await__()
            self._placed = None
        return self

    async def settled(self, within: float = 1.0) -> Settled:
        """Wait until all subscribers saw the message, or are lost or dead, at most `within` seconds."""
        deadline = time.monotonic() + within
        publisher: _Publisher = self._publisher
        if self._placed is not None:
            try:
                async with asyncio.timeout(within):
                    await self
            except TimeoutError:
                return await publisher.settled(2**63, self.topic, self.published, 0.0)
        return await publisher.settled(self.seq, self.topic, self.published, deadline - time.monotonic())

    def __repr__(self) -> str:
        return f"Receipt(topic={self.topic!r}, seq={self.seq})"


def already_placed(future: "asyncio.Future[int]", receipt: Receipt) -> None:
    if not future.cancelled() and future.exception() is None:
        receipt.seq = future.result()
