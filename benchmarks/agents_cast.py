"""The agents, and the processes of the bus alone, that the agents' benchmarks measure."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from three_mode import Agent, handler, on
from transports.bus import Bus, BusOptions, Message

ITEM = {"id": 1, "text": "x" * 72, "tags": ["a", "b"]}  # about 100 bytes of msgpack


class Plain(Agent):
    def __init__(self) -> None:
        self.seen = 0

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1

    @handler
    async def echo(self, text: str) -> str:
        return text

    @handler
    def count(self) -> int:
        return self.seen


class Eager(Agent):
    def __init__(self) -> None:
        self.seen = 0

    @on("news.*")
    async def read(self, item: dict[str, Any]) -> None:
        self.seen += 1


class Bare:
    """What 256 agents of a process are, when there is only the bus."""

    def __init__(self) -> None:
        self.seen = 0

    def read(self, message: Message) -> None:
        self.seen += message.payload["id"]


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
    script = "import sys, asyncio, uvloop; from benchmarks.agents_cast import member; uvloop.run(member(*sys.argv[1:3], int(sys.argv[3])))"
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


def on_uvloop(work: Callable[[], Awaitable[Any]]) -> Any:
    """Runs a measurement on the loop that hosts run on."""
    import uvloop

    async def main() -> Any:
        return await work()

    return uvloop.run(main())
