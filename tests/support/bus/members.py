"""Members for the bus's tests: on separate buses, and in separate processes."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from transports.bus import Bus, BusOptions, Kind, Request

_numbers = itertools.count()


def bus_name() -> str:
    """Name of a bus that no other test uses."""
    return f"test-{os.getpid()}-{next(_numbers)}"


class Members:
    """Joins members, which leave at the end of the test."""

    def __init__(self, **options: Any) -> None:
        self.name = bus_name()
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self.joined: list[Bus] = []
        self.errors: list[tuple[str, BaseException]] = []

    async def join(self, label: str = "", **options: Any) -> Bus:
        def on_error(where: str, error: BaseException) -> None:
            self.errors.append((where, error))

        chosen = {"on_error": on_error, **self._options, **options}
        bus = await self._stack.enter_async_context(await Bus.join(self.name, BusOptions(label=label, **chosen)))
        self.joined.append(bus)
        return bus

    async def close(self) -> None:
        """Closes all members. No test may leave a missed wake-up behind."""
        missed = sum(bus.status().counters["missed_wakes"] for bus in self.joined)
        await self._stack.aclose()
        assert missed == 0, f"{missed} wake-ups were missed"


@contextlib.asynccontextmanager
async def members(**options: Any) -> AsyncIterator[Members]:
    group = Members(**options)
    try:
        yield group
    finally:
        await group.close()


async def eventually(condition: Callable[[], Any], within: float = 5.0) -> None:
    """Polls until `condition()` is true."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - any condition, nobody to set an event
            await asyncio.sleep(0.002)


class Process:
    """Member in a separate process; see `child.py`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.id = ""
        self.events: list[list[Any]] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            event = json.loads(line)
            if event[0] == "joined":
                self.id = event[1]
            self.events.append(event)

    def tell(self, verb: str, *arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([verb, *arguments]).encode() + b"\n")

    async def do(self, verb: str, *arguments: Any, within: float = 20.0) -> None:
        done = self.count("done", verb)
        self.tell(verb, *arguments)
        await eventually(lambda: self.count("done", verb) > done, within)

    def count(self, *event: Any) -> int:
        return sum(told[: len(event)] == list(event) for told in self.events)

    async def report(self) -> tuple[int, int, int, dict[str, int]]:
        """Returns (seen, torn, missing, counters)."""
        await self.do("report")
        _, seen, torn, missing, counters = next(e for e in reversed(self.events) if e[0] == "report")
        return seen, torn, missing, counters

    async def ended(self, within: float = 20.0) -> int:
        async with asyncio.timeout(within):
            return await self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def stopped(self) -> None:
        """Waits until a signal has stopped the process."""
        stat = Path(f"/proc/{self.process.pid}/stat")
        await eventually(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 20)

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()
        await self._reading
        transport = self.process._transport  # type: ignore[attr-defined]
        transport.close()


@contextlib.asynccontextmanager
async def process(bus: str, failpoint: str = "", joins: bool = True, **options: Any) -> AsyncIterator[Process]:
    environment = {**os.environ, "THREE_MODE_BUS_FAILPOINT": failpoint}
    child = Process(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.bus.child",
            bus,
            json.dumps(options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
    )
    try:
        if joins:
            await eventually(lambda: child.id or child.process.returncode is not None, 20)
        yield child
    finally:
        await child.close()


def echo(request: Request) -> None:
    """Answers a request with the request's own envelope and payload."""
    if request.kind is Kind.ASK:
        request.reply([request.to, request.sender, request.topic, request.trace, request.payload])
