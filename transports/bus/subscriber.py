"""Start and end subscriptions: earlier messages first, all of a request or none, one change at a time."""

import asyncio
import weakref
from collections.abc import Callable, Iterable, Sequence

from transports.bus.carrier import Carrier
from transports.bus.errors import BusError
from transports.bus.messages import Message
from transports.bus.options import SubscribeOptions
from transports.bus.pubsub.delivery import Delivery
from transports.bus.pubsub.listener import Listener
from transports.bus.pubsub.subscriptions import Callback, Subscription, Subscriptions
from transports.bus.topics import check_pattern

Wanted = tuple[str, Callback, SubscribeOptions]


class Subscriber:
    """Starts and ends the subscriptions of one member.

    `ended()` is the error that ended the member, or None. After the end no subscription starts, and the carrier is not
    told of those that end.
    """

    def __init__(
        self,
        carrier: Carrier,
        table: Subscriptions,
        delivery: Delivery,
        ended: Callable[[], BusError | None],
    ) -> None:
        self._carrier, self._table, self._delivery, self._ended = carrier, table, delivery, ended
        self._changing = asyncio.Lock()
        self._full: set[Listener] = set()  # RELIABLE listeners without room
        self._listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    async def subscribe(self, wanted: Iterable[Wanted]) -> list[Subscription]:
        """Start several subscriptions with one message to the registry."""
        error = self._ended()
        if error is not None:
            raise error
        new = [Subscription(check_pattern(p), _plain(c), o, self._unsubscribe) for p, c, o in wanted]
        async with self._changing:
            self._carrier.listen(True)
            try:
                await self._start(new)
            finally:
                self._stop_listening_if_unused()
        return new

    async def _start(self, new: Sequence[Subscription]) -> None:
        await self._carrier.catch_up()
        replaying = [subscription for subscription in new if subscription.options.replay > 0]
        buffers: dict[Subscription, list[Message]] = {subscription: [] for subscription in replaying}
        for subscription, buffer in buffers.items():
            subscription.deliver = buffer.append
        changed = self._table.add(new)
        try:
            if replaying:
                await self._replay(replaying, buffers)
            await self._carrier.subscribed(changed, self._table.reliable)
        except BaseException:  # all or none
            undone: dict[str, int] = {}
            for subscription in new:
                undone |= self._table.remove(subscription)
            if self._ended() is None:  # other members may know of them already
                self._carrier.unsubscribed(undone, self._table.reliable)
            raise

    async def _replay(self, wanted: Sequence[Subscription], buffers: dict[Subscription, list[Message]]) -> None:
        """Deliver earlier messages, then those that arrived meanwhile."""
        messages, call = await self._carrier.replay(), self._delivery.call
        for subscription in wanted:
            only = Subscriptions()
            only.add([subscription])
            by_writer: dict[str, list[Message]] = {}
            for message in messages:
                if only.route(message.topic) is not None:
                    by_writer.setdefault(message.member, []).append(message)
            for earlier in by_writer.values():
                for message in earlier[-subscription.options.replay :]:
                    call(subscription.callback, message)
            for message in buffers[subscription]:
                call(subscription.callback, message)
            subscription.deliver = subscription.callback
        self._table.forget_routes()

    async def _unsubscribe(self, subscription: Subscription) -> None:
        changed = self._table.remove(subscription)
        if self._ended() is not None or not changed:
            return
        if not self._changing.locked():  # else a subscription is starting, and needs what arrives meanwhile
            self._stop_listening_if_unused()
        await self._carrier.subscribed(changed, self._table.reliable)

    def _stop_listening_if_unused(self) -> None:
        if not self._table.count and self._ended() is None:
            self._carrier.listen(False)

    def listener(self, pattern: str, options: SubscribeOptions, depth: int) -> Listener:
        """Make a listener; it subscribes when it is entered."""
        check_pattern(pattern)

        async def subscribe(callback: Callback, wanted: SubscribeOptions) -> Subscription:
            return (await self.subscribe([(pattern, callback, wanted)]))[0]

        listener = Listener(subscribe, self._hold, options, depth)
        self._listeners.add(listener)
        return listener

    def close(self) -> None:
        """End all listeners: no further message arrives."""
        for listener in list(self._listeners):
            listener.end()

    def _hold(self, listener: Listener, on: bool) -> None:
        """Leave broadcasts in their rings while any RELIABLE listener is full."""
        (self._full.add if on else self._full.discard)(listener)
        self._carrier.hold(bool(self._full))


def _plain(callback: Callback) -> Callback:
    if asyncio.iscoroutinefunction(callback):
        raise TypeError("a subscriber is a plain callable that takes a Message; start tasks from it, or use listen()")
    return callback
