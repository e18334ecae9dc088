"""The agents, and the processes of the bus alone, that the agents' benchmarks measure."""

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


_agents = _ran = 0  # of this process: how many there are, and how many have run their handler
_fd = -1


def tick() -> None:
    """Counts the handlers of this process that have run, and says through a pipe when all of a broadcast have.

    A plain function on globals: what counts must cost no more here than the counter of a peer's handler.
    """
    global _ran
    _ran += 1
    if _ran == _agents:
        _ran = 0
        _say_so()


def _say_so() -> None:
    global _fd
    if _fd < 0:
        _fd = os.open(os.environ[FIFO], os.O_WRONLY)
    os.write(_fd, b".")


def count_me() -> None:
    global _agents
    _agents += 1


class Finish:
    """The publisher's end of that pipe. It blocks until so many processes have run all their handlers."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR)
        os.environ[FIFO] = str(self.path)  # for the processes that are started next

    def wait(self, processes: int) -> None:
        while processes > 0:
            processes -= len(os.read(self._fd, processes))


class Plain(Agent):
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
    def __init__(self) -> None:
        self.seen = 0
        count_me()

    @on("news.*")
    async def read(self, item: dict[str, Any]) -> None:
        self.seen += item["id"]
        tick()


class Bare:
    """What 256 agents of a process are, when there is only the bus."""

    def __init__(self) -> None:
        self.seen = 0
        count_me()

    def read(self, message: Message) -> None:
        self.seen += message.payload["id"]
        tick()


async def member(name: str, label: str, count: int) -> None:
    """A process of the bus alone: `count` plain handlers on `news.*`, and an echo."""
    bus = await Bus.join(name, BusOptions(label=label, create=False))
    for one in [Bare() for _ in range(count)]:
        await bus.subscribe("news.*", one.read)
    await bus.register(f"echo-{label}", lambda request: request.reply(request.payload))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until the benchmark ends
    await bus.leave()


@asynccontextmanager
async def bare_bus(processes: int, handlers: int) -> AsyncIterator[Bus]:
    """The bus, with `handlers` plain callbacks in all, in that many other processes."""
    name = "benchmark-agents-bare"
    bus = await Bus.join(name, BusOptions(label="bench"))
    script = "import sys, asyncio, uvloop; from benchmarks._agents_cast import member; uvloop.run(member(*sys.argv[1:3], int(sys.argv[3])))"
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
    """The other processes on a bus."""
    return [member.pid for member in bus.members().values() if member.id != bus.id]
