"""Subjects of the agents' benchmarks: agents, and processes that use the bus alone."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from three_mode import Agent, handler, on
from transports.bus import Bus, BusOptions, Message

ITEM = {"id": 1, "text": "x" * 72, "tags": ["a", "b"]}  # about 100 bytes of msgpack


FIFO = "THREE_MODE_BENCH_FIFO"


_agents = _ran = 0  # agents of this process, and those that have run their handler
_fd = -1


def tick() -> None:
    """Counts the handlers of this process that have run; writes to a pipe when all of a broadcast have.

    A plain function on globals: counting must cost no more than the counter of a peer's handler.
    """
    global _ran
    _ran += 1
    if _ran == _agents:
        _ran = 0
        _write_to_pipe()


def _write_to_pipe() -> None:
    global _fd
    if _fd < 0:
        _fd = os.open(os.environ.get(FIFO, os.devnull), os.O_WRONLY)  # nobody waits for it where none is named
    os.write(_fd, b".")


def count_me() -> None:
    """Counts an agent of this process."""
    global _agents
    _agents += 1


class Finish:
    """Publisher's end of that pipe. `wait` blocks until as many processes have run all their handlers."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR)
        os.environ[FIFO] = str(self.path)  # for the processes that are started next

    def wait(self, processes: int) -> None:
        """Blocks until `processes` processes have run all their handlers."""
        while processes > 0:
            processes -= len(os.read(self._fd, processes))


class Plain(Agent):
    """Agent with plain handlers."""

    def __init__(self) -> None:
        self.seen = 0
        count_me()

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += item["id"]
        tick()

    @handler
    async def echo(self, text: str) -> str:
        return text

    @handler
    def count(self) -> int:
        return self.seen


class Eager(Agent):
    """Agent with an async handler."""

    def __init__(self) -> None:
        self.seen = 0
        count_me()

    @on("news.*")
    async def read(self, item: dict[str, Any]) -> None:
        self.seen += item["id"]
        tick()


class Bare:
    """Handler on the bus alone, in place of an agent."""

    def __init__(self) -> None:
        self.seen = 0
        count_me()

    def read(self, message: Message) -> None:
        self.seen += message.payload["id"]
        tick()


async def member(name: str, label: str, count: int) -> None:
    """Runs a process of the bus alone: `count` plain handlers on `news.*`, and an echo."""
    bus = await Bus.join(name, BusOptions(label=label, create=False))
    for bare in [Bare() for _ in range(count)]:
        await bus.subscribe("news.*", bare.read)
    await bus.register(f"echo-{label}", lambda request: request.reply(request.payload))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the benchmark ends
    await bus.leave()


@asynccontextmanager
async def bare_bus(processes: int, handlers: int) -> AsyncIterator[Bus]:
    """Joins a bus with `handlers` plain callbacks in all, in `processes` other processes."""
    name = "benchmark-agents-bare"
    bus = await Bus.join(name, BusOptions(label="bench"))
    script = (
        "import sys, uvloop; from benchmarks._agents_cast import member; "
        "uvloop.run(member(*sys.argv[1:3], int(sys.argv[3])))"
    )
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            name,
            str(number),
            str(handlers // processes),
            stdin=asyncio.subprocess.PIPE,
        )
        for number in range(processes)
    ]
    try:
        await bus.wait_for([f"echo-{number}" for number in range(processes)], within=20)
        yield bus
    finally:
        for process in started:
            assert process.stdin is not None
            process.stdin.close()
        await asyncio.gather(*(process.wait() for process in started))
        await bus.leave()


def pids_beside(bus: Bus) -> list[int]:
    """Ids of the other processes on a bus."""
    return [member.pid for member in bus.members().values() if member.id != bus.id]
