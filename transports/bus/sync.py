"""BlockingBus: the verbs of a bus for threads without an event loop.

One event loop in a background thread does the work. Callbacks and handlers run in that thread, and may not block;
iterators are read in the thread that asks for them.
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
_END: Any = object()


class BlockingBus:
    """Member of a bus, for any thread: `with BlockingBus.join(name) as bus`. Its verbs block; see `Bus` for each."""

    def __init__(self, loop: asyncio.AbstractEventLoop, thread: threading.Thread, bus: Bus) -> None:
        self._loop, self._thread, self._bus = loop, thread, bus
        self._left = False
        self._pid = os.getpid()
        # Held while work is handed to the loop: work that is handed to a loop that has ended is never done.
        self._handing_over = threading.Lock()

    @classmethod
    def join(cls, name: str, options: BusOptions | None = None) -> Self:
        """Join the bus of that name, or start it."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_run_loop, args=(loop,), name=f"bus-{name}", daemon=True)
        thread.start()
        try:
            bus = asyncio.run_coroutine_threadsafe(Bus.join(name, options), loop).result()
        except BaseException:
            _stop_loop(loop, thread)
            raise
        return cls(loop, thread, bus)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            future = self._submit(work)
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

    def _submit(self, work: Coroutine[Any, Any, T]) -> "concurrent.futures.Future[T]":
        if os.getpid() != self._pid:
            raise Forked(
                "this process was forked after it joined the bus, whose thread is its parent's: join in the child"
            )
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "a callback of the bus may not wait for the bus: it runs in the thread that would answer"
            )
        with self._handing_over:
            if self._left:
                raise Closed("this member has left the bus")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run_unless_ended(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that is needless once the member has left, or in the child of a fork."""
        with suppress(Closed):
            self._run(work)

    def _call(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self._run(run())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    def leave(self, within: float = 2.0) -> None:
        """Send what is queued, for at most `within` seconds, then leave. Calls in other threads raise Closed."""
        if self._left or os.getpid() != self._pid:
            return
        self._run_unless_ended(self._bus.leave(within))
        with self._handing_over:
            left, self._left = self._left, True
        if not left:
            _stop_loop(self._loop, self._thread)

    @property
    def id(self) -> str:
        """Id of this member."""
        return self._bus.id

    def names(self) -> Mapping[str, str]:
        """Return all registered names and the ids of their members."""
        return self._call(lambda: dict(self._bus.names()))

    def members(self) -> Mapping[str, MemberInfo]:
        """Return all members, by id."""
        return self._call(lambda: dict(self._bus.members()))

    def register(self, names: str | Iterable[str], handler: Handler) -> None:
        """Take requests to these names; `handler` runs in the background thread."""
        self._run(self._bus.register(names, handler))

    def unregister(self, names: str | Iterable[str]) -> None:
        """Give names back."""
        self._run(self._bus.unregister(names))

    def wait_for(self, names: str | Iterable[str], within: float = 5.0) -> None:
        """Wait until all these names are registered; DeadlineExceeded after `within` seconds."""
        self._run(self._bus.wait_for(names, within))

    def publish(self, topic: str, payload: Any, *, trace: str = "", sender: str = "") -> Receipt:
        """Publish, and return once the message is in the ring."""

        async def publish() -> Receipt:
            receipt = self._bus.publish(topic, payload, trace=trace, sender=sender)
            return await receipt

        return self._run(publish())

    def settled(self, receipt: Receipt, within: float = 1.0) -> Settled:
        """Ask how far a published message got, for at most `within` seconds."""
        return self._run(receipt.settled(within))

    def subscribe(self, pattern: str, callback: Callback, options: SubscribeOptions | None = None) -> Subscription:
        """Call `callback(message)` in the background thread for each message to a matching topic."""
        return self._run(self._bus.subscribe(pattern, callback, options))

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        self._run(subscription.close())

    @contextmanager
    def listen(
        self, pattern: str, options: SubscribeOptions | None = None, *, depth: int = 1024
    ) -> Iterator[Iterator[Item]]:
        """Iterate over messages and events: `with bus.listen(...) as items: for item in items`."""
        listener = self._call(lambda: self._bus.listen(pattern, options, depth=depth))
        self._run(listener.__aenter__())
        try:
            yield self._each(listener.__anext__)
        finally:
            self._run_unless_ended(listener.aclose())

    def send(self, to: str, payload: Any, *, topic: str = "", trace: str = "", sender: str = "") -> None:
        """Send one message without a reply, and return once it is in the receiver's ring."""

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
        """Ask and wait for the reply, at most `within` seconds."""
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
        """Ask for a stream of replies: `with bus.stream(...) as parts: for part in parts`.

        Leaving the block before the end cancels the receiver's work.
        """
        reader = self._bus.stream(to, payload, topic=topic, within=within, credit=credit, sender=sender)
        self._run(reader.__aenter__())
        try:
            yield self._each(reader.__anext__)
        finally:
            self._run_unless_ended(reader.aclose())

    def _each(self, following: Callable[[], Coroutine[Any, Any, T]]) -> Iterator[T]:
        async def following_or_end() -> T:
            try:
                return await following()
            except StopAsyncIteration:
                end: T = _END
                return end

        while (item := self._run(following_or_end())) is not _END:
            yield item

    def status(self) -> BusStatus:
        """Take a snapshot of this member, and of how far its subscribers are behind."""
        return self._run(self._bus.status_of_readers())


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


async def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    others = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=1.0)
    await loop.shutdown_default_executor()


def _stop_loop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    asyncio.run_coroutine_threadsafe(_cancel_all(loop), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5.0)
    loop.close()
