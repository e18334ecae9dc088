"""An agent that writes down what reaches it, in a file that outlives its process, and a reader of that file."""

import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from three_mode import Agent, handler, on


class Witness(Agent):
    """Writes a line for each thing that it begins with."""

    mailbox = 5000

    def __init__(self, journal: str) -> None:
        self._incarnation = secrets.token_hex(6)
        self._file = os.open(journal, os.O_WRONLY | os.O_APPEND)

    def _write(self, what: str, number: int) -> None:
        os.write(self._file, f"{what} {number} {self.name} {self._incarnation}\n".encode())

    @handler
    async def add(self, number: int) -> int:
        self._write("ask", number)
        return number + 1

    @handler
    async def take(self, number: int) -> None:
        self._write("tell", number)

    @handler(concurrent=50)
    async def count(self, number: int, to: int) -> AsyncIterator[int]:
        self._write("stream", number)
        for part in range(to):
            yield part

    @handler
    async def who(self) -> str:
        return self._incarnation

    @on("news.*")
    def read(self, item: dict[str, int]) -> None:
        self._write("cast", item["id"])


class Line(NamedTuple):
    """One thing that an agent began with."""

    what: str
    number: int
    agent: str
    incarnation: str


class Journal:
    """The file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self) -> list[Line]:
        """Read all lines."""
        found = []
        for line in self.path.read_text().splitlines():
            what, number, agent, incarnation = line.split()
            found.append(Line(what, int(number), agent, incarnation))
        return found

    def begun(self, what: str) -> Counter[int]:
        """Return number -> how often an agent began with it."""
        return Counter(line.number for line in self.lines() if line.what == what)
