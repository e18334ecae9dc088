"""Deliver received messages to the callbacks of this process: the hot path of all that comes in.

The native ring does the same in C where it can (`native/deliver.c`), and calls `direct`, `route`, `fan_out`, `flush`
and `raised` for the rest; other carriers call `deliver`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from transports.bus.messages import Message, opened
from transports.bus.pubsub.subscriptions import Callback, Subscriptions

CAUGHT = (Exception, asyncio.CancelledError)  # raised by a callback, these end nothing but the callback
MANY = 16  # callbacks; for more, it pays to decode a message before they get it


class Onward:
    """Context that keeps exceptions, so that the next step still runs; `end` raises the first of them."""

    def __init__(self) -> None:
        self._first: BaseException | None = None

    def keep(self, error: BaseException) -> None:
        """Keep an error to raise it at the end."""
        if self._first is None:
            self._first = error
        else:
            self._first.add_note(f"After it, of the same batch: {error!r}")

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self.keep(error)
        return True

    def end(self) -> None:
        """Raise the first error, if there was one."""
        if self._first is not None:
            raise self._first


class Delivery:
    """Delivery of one member's messages.

    `direct(message)` gets frames that were sent to this member; `failed(where, error)` reports what a callback raised.
    """

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
        """Deliver a batch, in order; what ends more than a callback is raised at the end."""
        onward: Onward | None = None
        for message in messages:
            try:
                topic = message.topic
                if topic:
                    route = message.route or self.route(topic)
                    if route is not None:
                        self.fan_out(route, message)
                else:
                    self.call(self.direct, message)
            except BaseException as error:  # noqa: BLE001 - raised below
                onward = onward or Onward()
                onward.keep(error)
        if self.newest:
            with onward or contextlib.nullcontext():
                self.flush()
        if onward is not None:
            onward.end()

    def fan_out(self, callbacks: tuple[Callback, ...], message: Message) -> None:
        """Call every callback with one message."""
        if len(callbacks) > MANY:
            message = opened(message)
        onward: Onward | None = None
        for callback in callbacks:
            try:
                try:
                    callback(message)
                except CAUGHT as error:
                    self.raised(message, error)
            except BaseException as error:  # noqa: BLE001 - raised below
                onward = onward or Onward()
                onward.keep(error)
        if onward is not None:
            onward.end()

    def call(self, callback: Callback, message: Message) -> None:
        """Call one callback with one message."""
        try:
            callback(message)
        except CAUGHT as error:
            self.raised(message, error)

    def flush(self) -> None:
        """Give LATEST subscribers the newest message of a batch, at its end."""
        newest = list(self.newest.items())
        self.newest.clear()
        onward = Onward()
        for (subscription, _), message in newest:
            with onward:
                self.call(subscription.deliver, message)
        onward.end()

    def raised(self, message: Message, error: BaseException) -> None:
        """Report what a callback raised; the other callbacks are still called."""
        where = f"subscriber of {message.topic!r}" if message.topic else f"frame of member {message.peer.id}"
        self._failed(where, error)
