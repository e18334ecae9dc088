"""Agents whose handlers are tools. Hosts import this module by name."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from three_mode import Agent, handler
from three_mode.messages import Image, Text


class Unit(Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


@dataclass
class Report:
    city: str
    degrees: float


class Weather(Agent):
    def __init__(self, journal: str = "") -> None:
        self._journal = Path(journal) if journal else None
        self.calls = 0

    @handler(tool=True)
    async def forecast(self, city: str, days: int = 1, unit: Unit = Unit.CELSIUS) -> str:
        """The weather of the next days.

        city: the name of the place
        days: how many days
        """
        return f"{city}: {days} days of sun in {unit.value}"

    @handler(tool=True)
    def measured(self, city: str) -> Report:
        """What was measured."""
        return Report(city, 21.5)

    @handler(tool=True)
    async def tale(self, words: int) -> AsyncIterator[str]:
        """A long story."""
        for number in range(words):
            yield f"word{number} "
            await asyncio.sleep(0.01)

    @handler(tool=True)
    async def broken(self) -> None:
        raise ValueError("no barometer")

    @handler(tool=True, concurrent=8)
    async def sleeps(self, seconds: float) -> str:
        """Sleeps, and writes down how it ended."""
        try:
            self._note("began")
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self._note("cancelled")
            raise
        self._note("woke")
        return "woke"

    @handler(tool=True)
    def picture(self) -> list[Text | Image]:
        return [Text("a dot"), Image(data=b"\x89PNG", mime="image/png")]

    @handler(tool=True)
    def nothing(self) -> None: ...

    @handler(tool=True)
    async def dies(self) -> str:
        os._exit(3)

    @handler
    async def secret(self) -> str:
        """Not a tool."""
        return "secret"

    def _note(self, word: str) -> None:
        if self._journal is not None:
            with self._journal.open("a") as out:
                out.write(word + "\n")


class Newcomer(Agent):
    @handler(tool=True)
    def greet(self) -> str:
        return "hello"
