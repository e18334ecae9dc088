"""Load of a node: tells, asks, streams and broadcasts in a steady rate, with a note of what became of each."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any

from tests.support.cluster.witness import Witness
from three_mode import Orchestrator
from three_mode.errors import ThreeModeError

WITHIN = 4.0
EVERY = 0.02  # seconds from one turn to the next
PARTS = 30


class Load:
    """What one node has others do. All it returns is JSON."""

    def __init__(self, orc: Orchestrator, targets: list[str]) -> None:
        self._orc, self._targets = orc, targets
        self._running: asyncio.Task[None] | None = None
        self._notes: dict[str, list[Any]] = {}

    def start(self, until: float, first: int) -> None:
        """Begin; numbers begin with `first`."""
        self._notes = {"tells": [], "asks": [], "streams": [], "casts": [], "unexpected": []}
        self._running = asyncio.get_running_loop().create_task(self._run(until, first))

    async def ended(self) -> dict[str, Any]:
        """Wait until all has ended, and return the notes."""
        assert self._running is not None
        await self._running
        return self._notes

    async def _run(self, until: float, first: int) -> None:
        tasks, number = [], first
        while time.monotonic() < until:
            number += 1
            name = self._targets[number % len(self._targets)]
            await self._tell(number, name)
            tasks.append(asyncio.create_task(self._ask(number, name)))
            if number % 5 == 0:
                tasks.append(asyncio.create_task(self._stream(number, name)))
            if number % 3 == 0:
                tasks.append(asyncio.create_task(self._cast(number)))
            await asyncio.sleep(EVERY)
        await asyncio.gather(*tasks)

    async def _tell(self, number: int, name: str) -> None:
        """A tell may not raise and be handled as well, so an error is the end of it."""
        begun = time.monotonic()
        outcome, _ = await self._timed(self._orc.ref(name).tell(Witness.take, number))
        self._notes["tells"].append((number, name, outcome, begun))

    async def _ask(self, number: int, name: str) -> None:
        outcome, seconds = await self._timed(self._orc.ref(name).ask(Witness.add, number, within=WITHIN))
        self._notes["asks"].append((number, name, outcome, seconds))

    async def _stream(self, number: int, name: str) -> None:
        async def read() -> list[int]:
            return [part async for part in self._orc.ref(name).stream(Witness.count, number, PARTS, within=WITHIN)]

        outcome, seconds = await self._timed(read())
        self._notes["streams"].append((number, name, outcome, seconds))

    async def _cast(self, number: int) -> None:
        seen, seconds = await self._timed(self._orc.broadcast("news.eu", {"id": number}).settled(within=WITHIN))
        self._notes["casts"].append((number, seen if isinstance(seen, str) else seen.complete, str(seen), seconds))

    async def _timed(self, work: Awaitable[Any]) -> tuple[Any, float]:
        """Return the result, or the name of the error; and the seconds."""
        begun = time.monotonic()
        try:
            result = await work
        except ThreeModeError as error:
            result = type(error).__name__
        except Exception as error:  # noqa: BLE001  # the test says which
            self._notes["unexpected"].append(repr(error))
            result = type(error).__name__
        return result, time.monotonic() - begun
