"""Patience with a provider: waits between polls and before retries, which end when the connection closes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.policies.retry import RetryOptions, wait_before_retry

T = TypeVar("T")
EACH = 60.0  # most seconds of one small request, so that one that stalls does not take the time of the others
_ENDLESS = 1 << 62  # attempts
_GROWS_NO_MORE = 30  # failures


class Patience:
    """The waits of all batches of one connection. Times are the loop's."""

    def __init__(self, retry: RetryOptions) -> None:
        self.retry = retry
        self._endless = replace(retry, attempts=_ENDLESS)
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def close(self) -> None:
        """End all waits with the error of a closed connection."""
        self._closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(_closed())

    async def pause(self, seconds: float) -> None:
        """Wait; ConfigurationError as soon as the connection is closed."""
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _wake, waiting)
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            timer.cancel()

    async def persist(
        self,
        operation: Callable[[float], Awaitable[T]],
        until: float,
        *,
        each: float = EACH,
        endless: bool = False,
        failed: Callable[[ThreeModeError], None] = lambda _: None,
    ) -> T:
        """The result of an operation that may be repeated, which gets its own deadline. `endless`: as often as there is
        time, rather than as the options of retries say. `failed` hears of each failure that is retried."""
        loop = asyncio.get_running_loop()
        options, failures = self._endless if endless else self.retry, 0
        while True:
            try:
                return await operation(min(until, loop.time() + each))
            except ThreeModeError as error:
                failures += 1
                at = min(failures, _GROWS_NO_MORE) if endless else failures
                wait = wait_before_retry(options, at, error, until - loop.time())
                if wait is None:
                    raise
                failed(error)
            await self.pause(wait)


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)


def _closed() -> ConfigurationError:
    return ConfigurationError("this connection is closed", hint="make a new LLMConnection")
