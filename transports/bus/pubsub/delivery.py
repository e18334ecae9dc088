"""From a carrier's messages to the callbacks of this process: the hot path of everything that comes in.

The native ring does the same in C for what it can (`native/deliver.c`), and calls `direct`, `route`, `fan_out`, `flush` and
`raised` for the rest; other carriers call `deliver`.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from transports.bus.messages import Message, opened
from transports.bus.pubsub.subscriptions import Callback, Subscriptions

CAUGHT = (Exception, asyncio.CancelledError)  # what a callback may raise without ending more than itself
MANY = 16  # callbacks for which it pays to open a message before it is handed to them


class Onward:
    """Whatever is raised within it is kept, so that what comes next is still done; `end` raises the first of it."""

    def __init__(self) -> None:
        self._first: BaseException | None = None

    def keep(self, error: BaseException) -> None:
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
        if self._first is not None:
            raise self._first


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
        try:
            callback(message)
        except CAUGHT as error:
            self.raised(message, error)

    def flush(self) -> None:
        """At the end of a batch: LATEST subscribers get the newest of it."""
        newest = list(self.newest.items())
        self.newest.clear()
        onward = Onward()
        for (subscription, _), message in newest:
            with onward:
                self.call(subscription.deliver, message)
        onward.end()

    def raised(self, message: Message, error: BaseException) -> None:
        """Reported; the others are still called."""
        where = f"subscriber of {message.topic!r}" if message.topic else f"frame of member {message.peer.id}"
        self._failed(where, error)
