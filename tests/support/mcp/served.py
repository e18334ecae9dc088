"""Agents on a bus, and the two ways in which their tools are offered: `/mcp`, and `three-mode mcp`."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from mcp import StdioServerParameters

from tests.support.agents.until import until
from tests.support.mcp.cast import Weather
from three_mode import Orchestrator


@asynccontextmanager
async def weather(journal: str = "", count: int = 2, hosts: int = 0) -> AsyncIterator[Orchestrator]:
    """An orchestrator with agents that have tools."""
    async with Orchestrator(hosts=hosts) as orc:
        await orc.spawn(Weather, count, name="weather", journal=journal)
        yield orc


def command(bus: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "three_mode.cli", "mcp", "--bus", bus, *more]


def parameters(bus: str, *more: str) -> StdioServerParameters:
    """The command as the official client takes it."""
    program, *words = command(bus, *more)
    return StdioServerParameters(command=program, args=words)


class RawClient:
    """A client of `three-mode mcp` that sends and reads lines as they are."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, bus: str, *more: str) -> Self:
        return cls(
            await asyncio.create_subprocess_exec(
                *command(bus, *more),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=1 << 24,
            )
        )

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)

    def ask(self, number: Any, method: str, **params: Any) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")

    def call(self, number: Any, tool: str, **arguments: Any) -> None:
        self.ask(number, "tools/call", name=tool, arguments=arguments)

    def tell(self, method: str, **params: Any) -> None:
        self.send(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    async def read(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(await asyncio.wait_for(self.process.stdout.readline(), 30))

    async def end(self) -> tuple[int, bytes, bytes]:
        """Ends the input: the exit status, and what was still to read."""
        out, err = await asyncio.wait_for(self.process.communicate(b""), 30)
        assert self.process.returncode is not None
        return self.process.returncode, out, err

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()


async def noted(journal: Any, word: str) -> None:
    """Waits until an agent has written a word down."""
    await until(lambda: journal.exists() and word in journal.read_text().split(), within=30)
