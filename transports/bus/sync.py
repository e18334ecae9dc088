"""The bus for a thread without an event loop: the same verbs, blocking, over one loop in a background thread.

Callbacks and handlers run in that thread; iterators are read in yours.
"""

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeVar

from transports.bus.asking.serving import Handler
from transports.bus.bus import WITHIN, Bus
from transports.bus.errors import Closed, Forked
from transports.bus.events import MemberInfo
from transports.bus.messages import Message
from transports.bus.options import BusOptions, SubscribeOptions
from transports.bus.pubsub.listener import Item
from transports.bus.pubsub.subscriptions import Callback, Subscription
from transports.bus.receipt import Receipt, Settled
from transports.bus.status import BusStatus

T = TypeVar("T")
_DONE: Any = object()


class BlockingBus:
    """Made by `BlockingBus.join(name)`; usable from any thread; a context manager."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, bus: Bus) -> None:
        self._loop, self._thread, self._bus = loop, thread, bus
        self._left = False
        self._pid = os.getpid()
        self._going = (
            threading.Lock()
        )  # while work is handed to the loop: what is handed to one that has ended is never done

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
        try:
            future = self._begin(work)
        except BaseException:
            work.close()
            raise
        try:
            return future.result()
        except (KeyboardInterrupt, concurrent.futures.CancelledError) as error:
            future.cancel()
            if self._left and isinstance(error, concurrent.futures.CancelledError):
                raise Closed("this member has left the bus") from None
            raise

    def _begin(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        if os.getpid() != self._pid:
            raise Forked(
                "this process was forked after it joined the bus, whose thread is its parent's: join in the child"
            )
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a callback of the bus may not wait for the bus: it runs in the thread that would answer"
            )
        with self._going:
            if self._left:
                raise Closed("this member has left the bus")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end(self, work: Coroutine[Any, Any, None]) -> None:
        """The same for what has ended anyway where the member has left, or is the parent's."""
        with suppress(Closed):
            self._run(work)

    def _do(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self._run(run())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    def leave(self, within: float = 2.0) -> None:
        """Whoever still waits in another thread hears that it is Closed."""
        if self._left or os.getpid() != self._pid:
            return
        self._end(self._bus.leave(within))
        with self._going:
            left, self._left = self._left, True
        if not left:
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

    def subscribe(self, pattern: str, callback: Callback, options: SubscribeOptions | None = None) -> Subscription:
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
            self._end(listener.aclose())

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
            self._end(reader.aclose())

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


async def _finish(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=1.0)
    await loop.shutdown_default_executor()


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(_finish(loop), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5.0)
    loop.close()
