"""From a carrier's messages to the callbacks of this process: the hot path of everything that comes in.

The native ring does the same in C for what it can (`native/deliver.c`), and calls `direct`, `route`, `fan_out`, `flush` and
`raised` for the rest; other carriers call `deliver`.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from transports.bus.messages import Message, opened
from transports.bus.pubsub.subscriptions import Callback, Subscriptions

CAUGHT = (Exception, asyncio.CancelledError)  # what a callback may raise without ending more than itself
MANY = 16  # callbacks for which it pays to open a message before it is handed to them


class Delivery:
    """`direct(message)` gets what was sent to this member; `failed(where, error)` what a callback raised."""

    def __init__(
        self,
        subscriptions: Subscriptions,
        direct: Callable[[Message], None],
        failed: Callable[[str, BaseException], None],
    ) -> None:
        self._failed = failed
        self.direct = direct
        self.route = subscriptions.route
        self.routes: dict[str, Any] = subscriptions.routes
        self.newest = subscriptions.newest

    def deliver(self, messages: Sequence[Message]) -> None:
        for message in messages:
            topic = message.topic
            if topic:
                route = message.route or self.route(topic)
                if route is not None:
                    self.fan_out(route, message)
            else:
                self.call(self.direct, message)
        if self.newest:
            self.flush()

    def fan_out(self, callbacks: tuple[Callback, ...], message: Message) -> None:
        if len(callbacks) > MANY:
            message = opened(message)
        for callback in callbacks:
            try:
                callback(message)
            except CAUGHT as error:
                self.raised(message, error)

    def call(self, callback: Callback, message: Message) -> None:
        try:
            callback(message)
        except CAUGHT as error:
            self.raised(message, error)

    def flush(self) -> None:
        """At the end of a batch: LATEST subscribers get the newest of it."""
        newest = list(self.newest.items())
        self.newest.clear()
        for (subscription, _), message in newest:
            self.call(subscription.deliver, message)

    def raised(self, message: Message, error: BaseException) -> None:
        """Reported; the others are still called."""
        where = f"subscriber of {message.topic!r}" if message.topic else f"frame of member {message.peer.id}"
        self._failed(where, error)
