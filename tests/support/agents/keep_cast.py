"""Agents of the tests that keep their states."""

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import Any

from three_mode import Agent, handler
from three_mode.agents import HostOptions, OrchestratorOptions


@dataclass
class Tally:
    """State of a Counter."""

    count: int = 0
    seen: tuple[str, ...] = ()
    filler: bytes = b""


class Counter(Agent):
    """Counts, and keeps its count before it answers."""

    def __init__(self) -> None:
        self.tally, self.order = Tally(), ["__init__"]

    async def restored(self, state: Tally) -> None:
        self.tally = state
        self.order.append("restored")

    async def started(self) -> None:
        self.order.append("started")

    @handler
    async def add(self, number: int) -> int:
        self.tally.count += number
        await self.keep(self.tally)
        return self.tally.count

    @handler
    def count(self) -> int:
        return self.tally.count

    @handler
    def lived(self) -> list[str]:
        return self.order

    @handler
    async def grow(self, size: int) -> None:
        self.tally.filler = bytes(size)
        await self.keep(self.tally)

    @handler
    async def keep_many(self, times: int) -> int:
        """Keep several times at once."""
        keeps = []
        for _ in range(times):
            self.tally.count += 1
            keeps.append(asyncio.ensure_future(self.keep(Tally(self.tally.count))))
            await asyncio.sleep(0)
        await asyncio.gather(*keeps)
        return self.tally.count

    @handler
    async def keep_this(self, what: str) -> None:
        await self.keep({"count": "no number"} if what == "misfit" else object())

    @handler
    async def keep_in_background(self) -> None:
        """Leave behind what goes on when this agent was replaced."""

        async def late() -> None:
            await asyncio.sleep(0.3)
            try:
                await self.keep(Tally(-1))
            except BaseException as error:  # noqa: BLE001
                LATE.append(f"{type(error).__name__}: {error}")
            else:
                LATE.append("kept")

        self.tasks = asyncio.ensure_future(late())

    @handler
    def late(self) -> list[str]:
        return LATE

    @handler
    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @handler
    def process(self) -> int:
        return os.getpid()


LATE: list[str] = []


class Notes(Agent):
    """Takes snapshots of every version."""

    keep_version = 3

    def __init__(self) -> None:
        self.got: list[Any] = []

    def restored(self, state: Tally, version: int) -> None:
        self.got = [type(state).__name__, version]

    @handler
    async def note(self) -> None:
        await self.keep(Tally(3))

    @handler
    def restored_with(self) -> list[Any]:
        return self.got


class Parting(Agent):
    """Keeps when it ends in order."""

    def __init__(self) -> None:
        self.lives = 0

    def restored(self, state: int) -> None:
        self.lives = state

    async def stopped(self) -> None:
        await self.keep(self.lives + 1)

    @handler
    def number(self) -> int:
        return self.lives

    @handler
    def leave(self) -> None:
        self.stop()


class Hookless(Agent):
    """Keeps what nothing gives back."""

    @handler
    async def keep_it(self) -> None:
        await self.keep(1)


class FailsToRestore(Agent):
    """Its hook raises."""

    def restored(self, state: dict[str, int]) -> None:
        raise KeyError("hook")

    @handler
    async def note(self) -> None:
        await self.keep({"a": 1})


def options(keep: Any = "", record: str = "") -> OrchestratorOptions:
    """Options with times for a machine that is busy."""
    hosts = HostOptions(start_within=120.0, respawn_within=120.0)
    return OrchestratorOptions(keep=keep, hosts=hosts, default_within=120.0, record=record)
