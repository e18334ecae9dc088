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
    """`async with bus.listen(...) as items: async for item in items`.

    Full: LOSSY drops the oldest message and says so with a Gap; LATEST keeps the newest of each topic; RELIABLE holds the
    writers up (and everything else that this process subscribes to) until there is room.
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
            if len(self._items) > self._depth:
                self._overflow()
        self._wake()

    def _overflow(self) -> None:
        if self._options.policy is Policy.RELIABLE:
            if not self._holding:
                self._holding = True
                self._hold(self, True)
            return
        oldest = self._items.popleft()
        if isinstance(oldest, Gap):  # grow the gap at the head by the message behind it
            behind = self._items.popleft()
            if isinstance(behind, Message) and behind.member == oldest.writer:
                self._items.appendleft(Gap(oldest.writer, oldest.first, behind.seq, oldest.count + 1))
                self.dropped += 1
            else:
                self._items.appendleft(behind)
                self._items.appendleft(oldest)
                self._drop_at(1)
        elif isinstance(oldest, Message):
            self.dropped += 1
            self._items.appendleft(Gap(oldest.member, oldest.seq, oldest.seq, 1))
            if len(self._items) > self._depth:
                self._overflow()

    def _drop_at(self, place: int) -> None:
        """Turn the message at `place` into a gap; events themselves are never dropped."""
        item = self._items[place]
        if isinstance(item, Message):
            self.dropped += 1
            self._items[place] = Gap(item.member, item.seq, item.seq, 1)

    def _event(self, event: InBand) -> None:
        self._items.append(event)
        self._wake()

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
        while not self._items and not self._newest:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if not self._items:
            return self._newest.pop(next(iter(self._newest)))
        item = self._items.popleft()
        if self._holding and 2 * len(self._items) <= self._depth:
            self._release()
        return item
