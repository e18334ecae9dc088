"""The bus for a thread without an event loop: the same verbs, blocking, over one loop in a background thread.

Callbacks and handlers run in that thread; iterators are read in yours.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, TypeVar

from transports.bus.bus import WITHIN, Bus
from transports.bus.errors import Closed
from transports.bus.events import MemberInfo
from transports.bus.listening import Item
from transports.bus.messages import Message
from transports.bus.options import BusOptions, SubscribeOptions
from transports.bus.receipt import Receipt, Settled
from transports.bus.serving import Handler
from transports.bus.status import BusStatus
from transports.bus.subscriptions import Callback, Subscription

T = TypeVar("T")
_DONE: Any = object()


class BlockingBus:
    """Made by `BlockingBus.join(name)`; usable from any thread; a context manager."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, bus: Bus) -> None:
        self._loop, self._thread, self._bus = loop, thread, bus
        self._left = False

    @classmethod
    def join(cls, name: str, options: BusOptions | None = None) -> Self:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(loop,), name=f"bus-{name}", daemon=True)
        thread.start()
        try:
            bus = asyncio.run_coroutine_threadsafe(Bus.join(name, options), loop).result()
        except BaseException:
            _end(loop, thread)
            raise
        return cls(loop, thread, bus)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._left:
            work.close()
            raise Closed("this member has left the bus")
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError(
                "a callback of the bus may not wait for the bus: it runs in the thread that would answer"
            )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            future.cancel()
            raise

    def _do(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self._run(run())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    def leave(self, within: float = 2.0) -> None:
        if not self._left:
            self._run(self._bus.leave(within))
            self._left = True
            _end(self._loop, self._thread)

    @property
    def id(self) -> str:
        return self._bus.id

    def names(self) -> Mapping[str, str]:
        return self._do(lambda: dict(self._bus.names()))

    def members(self) -> Mapping[str, MemberInfo]:
        return self._do(lambda: dict(self._bus.members()))

    def register(self, names: str | Iterable[str], handler: Handler) -> None:
        self._run(self._bus.register(names, handler))

    def unregister(self, names: str | Iterable[str]) -> None:
        self._run(self._bus.unregister(names))

    def wait_for(self, names: str | Iterable[str], within: float = 5.0) -> None:
        self._run(self._bus.wait_for(names, within))

    def publish(self, topic: str, payload: Any, *, trace: str = "", sender: str = "") -> Receipt:
        """Returns once the message is in the ring."""

        async def publish() -> Receipt:
            receipt = self._bus.publish(topic, payload, trace=trace, sender=sender)
            return await receipt

        return self._run(publish())

    def settled(self, receipt: Receipt, within: float = 1.0) -> Settled:
        return self._run(receipt.settled(within))

    def subscribe(
        self, pattern: str, callback: Callback, options: SubscribeOptions | None = None
    ) -> Subscription:
        return self._run(self._bus.subscribe(pattern, callback, options))

    def unsubscribe(self, subscription: Subscription) -> None:
        self._run(subscription.close())

    @contextmanager
    def listen(
        self, pattern: str, options: SubscribeOptions | None = None, *, depth: int = 1024
    ) -> Iterator[Iterator[Item]]:
        """`with bus.listen(...) as items: for item in items`."""
        listener = self._do(lambda: self._bus.listen(pattern, options, depth=depth))
        self._run(listener.__aenter__())
        try:
            yield self._each(listener.__anext__)
        finally:
            self._run(listener.aclose())

    def send(self, to: str, payload: Any, *, topic: str = "", trace: str = "", sender: str = "") -> None:
        """Returns once the message is in the other side's ring."""

        async def send() -> None:
            await self._bus.send(to, payload, topic=topic, trace=trace, sender=sender)

        self._run(send())

    def ask(
        self,
        to: str,
        payload: Any,
        *,
        topic: str = "",
        within: float = WITHIN,
        trace: str = "",
        sender: str = "",
    ) -> Message:
        return self._run(self._bus.ask(to, payload, topic=topic, within=within, trace=trace, sender=sender))

    @contextmanager
    def stream(
        self,
        to: str,
        payload: Any,
        *,
        topic: str = "",
        within: float = WITHIN,
        credit: int = 16,
        sender: str = "",
    ) -> Iterator[Iterator[Message]]:
        """`with bus.stream(...) as parts: for part in parts`; leaving cancels the far side."""
        reader = self._bus.stream(to, payload, topic=topic, within=within, credit=credit, sender=sender)
        self._run(reader.__aenter__())
        try:
            yield self._each(reader.__anext__)
        finally:
            self._run(reader.aclose())

    def _each(self, following: Callable[[], Coroutine[Any, Any, T]]) -> Iterator[T]:
        async def one() -> T:
            try:
                return await following()
            except StopAsyncIteration:
                end: T = _DONE
                return end

        while (item := self._run(one())) is not _DONE:
            yield item

    def status(self) -> BusStatus:
        return self._run(self._bus.status_of_readers())


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5.0)
    loop.close()
