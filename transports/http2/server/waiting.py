"""Tasks that wait for one thing to happen, each with a future of its own."""

import asyncio


class Waiters:
    """Any number of tasks; one that is cancelled takes nothing from the others."""

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        """Until the next `wake`."""
        future = self._loop.create_future()
        self._futures.append(future)
        await future

    def wake(self) -> None:
        """All that wait go on."""
        futures, self._futures = self._futures, []
        for future in futures:
            if not future.done():
                future.set_result(None)
