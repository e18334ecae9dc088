"""Messages as an async iterator, with what happened to them in band. The queue is bounded by its depth."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from transports.bus.events import Gap, InBand
from transports.bus.messages import Message
from transports.bus.options import Policy, SubscribeOptions
from transports.bus.subscriptions import Subscription

Item = Message | InBand


class Listener:
    """`async with bus.listen(...) as items: async for item in items`, by one task at a time.

    Full: LOSSY drops the oldest message and says so with a Gap, one for each writer; LATEST keeps the newest of each topic;
    RELIABLE holds the writers up (and everything else that this process subscribes to) until there is room.
    """

    def __init__(
        self,
        subscribe: Callable[[Callable[[Message], None], SubscribeOptions], Awaitable[Subscription]],
        hold: Callable[["Listener", bool], None],
        options: SubscribeOptions,
        depth: int,
    ) -> None:
        if depth < 1:
            raise ValueError("a listener needs a depth of at least 1")
        self._subscribe, self._hold = subscribe, hold
        self._options, self._depth = options, depth
        self._items: deque[Item] = deque()
        # What comes before them: the gaps that had no room, one for each writer, and then the writers that have gone.
        self._gaps: dict[str, Gap] = {}
        self._gone: deque[Item] = deque()
        self._newest: dict[str, Message] = {}  # LATEST: by topic, in order of first arrival
        self._subscription: Subscription | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._holding = self._closed = False
        self.dropped = 0

    async def __aenter__(self) -> Self:
        options = SubscribeOptions(
            self._options.policy, self._options.replay, self._event, self._options.subscriber
        )
        self._subscription = await self._subscribe(self._message, options)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        self._closed = True
        self._release()
        self._wake()
        if self._subscription is not None:
            await self._subscription.close()

    def _message(self, message: Message) -> None:
        if self._options.policy is Policy.LATEST:
            if message.topic not in self._newest and len(self._newest) >= self._depth:
                del self._newest[next(iter(self._newest))]
                self.dropped += 1
            self._newest[message.topic] = message
        else:
            self._items.append(message)
            self._make_room()
        self._wake()

    def _event(self, event: InBand) -> None:
        if isinstance(event, Gap) and self._options.policy is Policy.LATEST:
            self._widen(event)
        else:
            self._items.append(event)
            self._make_room()
        self._wake()

    def _make_room(self) -> None:
        while len(self._items) > self._depth:
            if self._options.policy is Policy.RELIABLE:
                if not self._holding:
                    self._holding = True
                    self._hold(self, True)
                return
            oldest = self._items.popleft()
            if isinstance(oldest, Message):
                self.dropped += 1
                self._widen(Gap(oldest.member, oldest.seq, oldest.seq, 1))
            elif isinstance(oldest, Gap):
                self._widen(oldest)
            else:
                self._gone.append(oldest)

    def _widen(self, gap: Gap) -> None:
        """What a writer's readers miss here is told by one gap, however often more is missed before it is looked at."""
        known = self._gaps.get(gap.writer)
        if known is not None:
            gap = Gap(gap.writer, known.first, gap.last, known.count + gap.count)
        self._gaps[gap.writer] = gap

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _release(self) -> None:
        if self._holding:
            self._holding = False
            self._hold(self, False)

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> Item:
        while not (self._gaps or self._gone or self._items or self._newest):
            if self._closed:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("another task waits for this listener already: give each task its own")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._gaps:
            return self._gaps.pop(next(iter(self._gaps)))
        if self._gone:
            return self._gone.popleft()
        if not self._items:
            return self._newest.pop(next(iter(self._newest)))
        item = self._items.popleft()
        if self._holding and 2 * len(self._items) <= self._depth:
            self._release()
        return item
