"""Subscriptions of this process, and routes: the callbacks for a topic, which is matched against all patterns once."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from transports.bus.events import InBand
from transports.bus.messages import Message
from transports.bus.options import Policy, SubscribeOptions
from transports.bus.topics import PatternIndex

Callback = Callable[[Message], Any]
Route = tuple[Callback, ...]  # callbacks for one topic
ROUTES = 4096  # topics kept; with more, all are forgotten and matched again


class Subscription:
    """Subscription of one callback to one pattern. `await close()` ends it."""

    __slots__ = ("_close", "callback", "closed", "deliver", "options", "pattern")

    def __init__(
        self,
        pattern: str,
        callback: Callback,
        options: SubscribeOptions,
        close: "Callable[[Subscription], Awaitable[None]]",
    ) -> None:
        self.pattern = pattern
        self.callback = callback
        self.options = options
        self.deliver = callback  # a buffer, while earlier messages are replayed
        self.closed = False
        self._close = close

    async def close(self) -> None:
        """End the subscription."""
        if not self.closed:
            self.closed = True
            await self._close(self)

    def __repr__(self) -> str:
        return f"Subscription({self.pattern!r}, {self.options.policy.value})"


class Subscriptions:
    """Table of subscriptions, and `routes`, which a carrier reads: topic -> Route, or None without a subscription."""

    def __init__(self) -> None:
        self._by_pattern: dict[str, dict[Subscription, None]] = {}
        self._patterns = PatternIndex()
        self.routes: dict[str, Route | None] = {}
        # The newest messages of the batch that is being delivered, for LATEST subscribers.
        self.newest: dict[tuple[Subscription, str], Message] = {}
        self._with_events: dict[Subscription, None] = {}
        self._reliable = 0
        self.count = 0

    @property
    def reliable(self) -> bool:
        """Whether any subscription is RELIABLE."""
        return self._reliable > 0

    def add(self, subscriptions: Iterable[Subscription]) -> dict[str, int]:
        """Add subscriptions; return the new number of them for each pattern that changed."""
        changed: dict[str, int] = {}
        for subscription in subscriptions:
            if subscription.pattern not in self._by_pattern:
                self._by_pattern[subscription.pattern] = {}
                self._patterns.add(subscription.pattern)
            of_pattern = self._by_pattern[subscription.pattern]
            of_pattern[subscription] = None
            changed[subscription.pattern] = len(of_pattern)
            self.count += 1
            self._reliable += subscription.options.policy is Policy.RELIABLE
            if subscription.options.on_event is not None:
                self._with_events[subscription] = None
        self.routes.clear()
        return changed

    def remove(self, subscription: Subscription) -> dict[str, int]:
        """Remove a subscription; return the new number of them for its pattern."""
        of_pattern = self._by_pattern.get(subscription.pattern, {})
        if subscription not in of_pattern:
            return {}
        del of_pattern[subscription]
        if not of_pattern:
            del self._by_pattern[subscription.pattern]
            self._patterns.remove(subscription.pattern)
        self._with_events.pop(subscription, None)
        self.count -= 1
        self._reliable -= subscription.options.policy is Policy.RELIABLE
        self.routes.clear()
        return {subscription.pattern: len(of_pattern)}

    def forget_routes(self) -> None:
        """Match topics again: a subscription's `deliver` changed."""
        self.routes.clear()

    def route(self, topic: str) -> Route | None:
        """Match `topic` against all patterns, and keep the result."""
        callbacks = [
            self._keeping_newest(subscription) if subscription.options.policy is Policy.LATEST else subscription.deliver
            for pattern in self._patterns.matching(topic)
            for subscription in self._by_pattern[pattern]
        ]
        if len(self.routes) >= ROUTES:
            self.routes.clear()
        found = tuple(callbacks) or None
        self.routes[topic] = found
        return found

    def _keeping_newest(self, subscription: Subscription) -> Callback:
        """Make the callback of a LATEST subscription: it keeps the newest message, for the end of the batch."""

        def keep(message: Message) -> None:
            self.newest[subscription, message.topic] = message

        return keep

    def event_callbacks(self, reliable_only: bool = False) -> list[Callable[[InBand], None]]:
        """Return the callbacks for an event."""
        return [
            subscription.options.on_event
            for subscription in self._with_events
            if subscription.options.on_event is not None
            and (not reliable_only or subscription.options.policy is Policy.RELIABLE)
        ]
