"""What the bus's tests share: members on buses of their own, and members in processes of their own."""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

from transports.bus import Bus, BusOptions

_numbers = itertools.count()


def bus_name() -> str:
    """A bus that no other test is on."""
    return f"test-{os.getpid()}-{next(_numbers)}"


class Members:
    """Joins members, and makes them leave at the end of the test."""

    def __init__(self, **options: Any) -> None:
        self.name = bus_name()
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self.errors: list[tuple[str, BaseException]] = []

    async def join(self, label: str = "", **options: Any) -> Bus:
        def on_error(where: str, error: BaseException) -> None:
            self.errors.append((where, error))

        chosen = {"on_error": on_error, **self._options, **options}
        return await self._stack.enter_async_context(
            await Bus.join(self.name, BusOptions(label=label, **chosen))
        )

    async def close(self) -> None:
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def members(**options: Any) -> AsyncIterator[Members]:
    group = Members(**options)
    try:
        yield group
    finally:
        await group.close()


async def eventually(condition: Callable[[], Any], within: float = 5.0) -> None:
    """Until `condition()` is true."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - any condition, nobody to set an event
            await asyncio.sleep(0.002)
