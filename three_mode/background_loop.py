"""Event loop in a background thread, for code without one: all calls of the process share it."""

import asyncio
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Concatenate, ParamSpec, TypeVar

from three_mode.errors import ConfigurationError

T = TypeVar("T")
P = ParamSpec("P")


class BackgroundLoop:
    """Event loop in a background thread; started when first needed, and again in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the work and waits for it in this thread. Interrupting the wait cancels the work."""
        future: Future[T] | None = None
        try:
            if _loop_here() is not None:
                raise ConfigurationError(
                    "three_mode.sync would block the event loop that runs here",
                    hint="use three_mode.LLMConnection, and await its calls",
                )
            future = asyncio.run_coroutine_threadsafe(work, self._running())
            return future.result()
        except CancelledError:
            raise
        except BaseException:
            if future is None:  # it was interrupted before it began
                work.close()
            elif not future.done():
                future.cancel()
            raise

    def run_to_end(self, work: Coroutine[Any, Any, T], within: float) -> T:
        """As `run`, but an interrupt waits until the cancelled work has ended, for at most `within` seconds."""
        ended = threading.Event()

        async def start() -> T:
            task = asyncio.ensure_future(work)
            task.add_done_callback(lambda _: ended.set())
            return await task

        try:
            return self.run(start())
        except KeyboardInterrupt:
            ended.wait(within)
            raise
        except ConfigurationError:
            work.close()  # it may not have begun
            raise

    def read(self, get: Callable[[], T]) -> T:
        """Value of `get()`, called in the loop's thread: no counter changes while it runs."""
        loop = self._loop
        if loop is None or self._process != os.getpid() or loop is _loop_here():
            return get()

        async def get_in_loop() -> T:
            return get()

        return asyncio.run_coroutine_threadsafe(get_in_loop(), loop).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._process != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._process = os.getpid()
                threading.Thread(target=self._loop.run_forever, name="three-mode-sync", daemon=True).start()
            return self._loop


def _loop_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def takes_arguments_of(
    source: Callable[Concatenate[Any, P], Any],
) -> Callable[[Callable[..., T]], Callable[Concatenate[Any, P], T]]:
    """Decorator: gives a method the signature of an async one, for type checkers and for the documentation."""

    def decorate(method: Callable[..., T]) -> Callable[Concatenate[Any, P], T]:
        returned = inspect.signature(method).return_annotation
        signature = inspect.signature(source).replace(return_annotation=returned)
        method.__signature__ = signature  # type: ignore[attr-defined]  # `inspect` reads it
        return method

    return decorate


LOOP = BackgroundLoop()
