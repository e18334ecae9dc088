"""Listener: messages of a subscription as an async iterator, with its events in order between them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Self

from transports.bus.events import Gap, InBand
from transports.bus.messages import Message
from transports.bus.options import Policy, SubscribeOptions
from transports.bus.pubsub.subscriptions import Subscription

Item = Message | InBand


class Listener:
    """Iterator over messages and events: `async with bus.listen(...) as items: async for item in items`.

    At most `depth` items wait. When the queue is full, LOSSY drops the oldest message and reports it in a Gap, LATEST
    keeps the newest of each topic, and RELIABLE holds up the writers (and with them all other subscriptions of this
    process) until there is room.
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
        self._before: dict[tuple[type[InBand], str], InBand] = {}  # events to read first, by kind and writer
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._holding = self._closed = False
        self.dropped = 0

    async def __aenter__(self) -> Self:
        options = SubscribeOptions(self._options.policy, self._options.replay, self._event, self._options.subscriber)
        self._subscription = await self._subscribe(self._message, options)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the subscription."""
        self._release()
        self.end()
        if self._subscription is not None:
            await self._subscription.close()

    def end(self) -> None:
        """Take nothing more; what waits may still be read."""
        self._closed = True
        self._wake()

    def _message(self, message: Message) -> None:
        if self._options.policy is Policy.LATEST:
            if message.topic not in self._newest and len(self._newest) >= self._depth:
                del self._newest[next(iter(self._newest))]
                self.dropped += 1
            self._newest[message.topic] = message
        else:
            self._append(message)
        self._wake()

    def _append(self, item: Item) -> None:
        self._items.append(item)
        if len(self._items) > self._depth:
            self._overflow()

    def _overflow(self) -> None:
        if self._options.policy is not Policy.RELIABLE:
            self._drop_oldest()
        elif not self._holding:
            self._holding = True
            self._hold(self, True)

    def _drop_oldest(self) -> None:
        """Add the oldest message to its writer's gap. Events are not dropped; the gaps of a writer become one."""
        oldest = self._items.popleft()
        if isinstance(oldest, Message):
            self.dropped += 1
            oldest = Gap(oldest.member, oldest.seq, oldest.seq, 1)
        key = type(oldest), oldest.writer
        before = self._before.get(key)
        if isinstance(oldest, Gap) and isinstance(before, Gap):
            oldest = Gap(oldest.writer, before.first, oldest.last, before.count + oldest.count)
        self._before[key] = oldest

    def _event(self, event: InBand) -> None:
        self._append(event)
        self._wake()

    def _wake(self) -> None:
        """Wake all readers; as a rule there is one."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _release(self) -> None:
        if self._holding:
            self._holding = False
            self._hold(self, False)

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> Item:
        while not (self._items or self._newest or self._before):
            if self._closed:
                raise StopAsyncIteration
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        if self._before:
            return self._before.pop(next(iter(self._before)))
        if not self._items:
            return self._newest.pop(next(iter(self._newest)))
        item = self._items.popleft()
        if self._holding and 2 * len(self._items) <= self._depth:
            self._release()
        return item
