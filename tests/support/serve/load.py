"""`three-mode serve` in a separate process, and clients that keep asking it and record the outcome of each request."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.agents.until import until

WITHIN = 8.0  # seconds that each request has, told to the endpoint
HANG = WITHIN + 4.0  # a client that waited for longer was left hanging


@asynccontextmanager
async def serving(port: int, *arguments: str, within: float = 30) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs the command and waits until it serves; kills it at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "three_mode.cli",
        "serve",
        "--port",
        str(port),
        *arguments,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = b""
        async with asyncio.timeout(within):
            while b"serving on" not in said:
                line = await process.stderr.readline()
                assert line, f"it ended: {said.decode()}"
                said += line
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def refused(*arguments: str) -> str:
    """What it says when it does not start."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "three_mode.cli", "serve", *arguments, stderr=asyncio.subprocess.PIPE
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 1, said
    return " ".join(said.decode().split())


@dataclass(frozen=True)
class Outcome:
    """Outcome of one request: `whole` for a whole answer, otherwise the name of the failure."""

    model: str
    what: str
    began: float
    ended: float

    @property
    def ok(self) -> bool:
        return self.what == "whole"


@dataclass
class Load:
    """Clients that ask, streamed and not, until the block ends."""

    url: str
    models: Sequence[str]
    outcomes: list[Outcome] = field(default_factory=list)
    in_flight: dict[int, float] = field(default_factory=dict)  # client -> when its request began

    @asynccontextmanager
    async def running(self, clients: int = 24) -> AsyncIterator["Load"]:
        ending = asyncio.Event()
        tasks = [asyncio.create_task(self._client(number, ending)) for number in range(clients)]
        try:
            yield self
        finally:
            ending.set()
            await asyncio.gather(*tasks)

    def between(self, start: float, end: float = float("inf")) -> list[Outcome]:
        """Requests that ended within that time."""
        return [outcome for outcome in self.outcomes if start <= outcome.ended <= end]

    def across(self, moment: float) -> list[Outcome]:
        """Requests that were in flight at that moment, and have ended since."""
        return [outcome for outcome in self.outcomes if outcome.began < moment <= outcome.ended]

    def failures(self, outcomes: Sequence[Outcome] | None = None) -> Counter[str]:
        return Counter(o.what for o in (self.outcomes if outcomes is None else outcomes) if not o.ok)

    async def until_all_well(self, since: float, within: float = 25.0) -> None:
        """Waits until every model has answered, whole, a request that began after `since`."""
        await until(lambda: {o.model for o in self.outcomes if o.ok and o.began > since} == set(self.models), within)

    async def _client(self, client: int, ending: asyncio.Event) -> None:
        number = client
        async with httpx.AsyncClient(timeout=HANG) as http:
            while not ending.is_set():
                model = self.models[number % len(self.models)]
                number += 1
                began = time.monotonic()
                self.in_flight[client] = began
                what = await self._ask(http, model, stream=number % 3 != 0)
                del self.in_flight[client]
                self.outcomes.append(Outcome(model, what, began, time.monotonic()))
                if what != "whole":
                    await asyncio.sleep(0.05)  # as a client that tries again would

    async def _ask(self, http: httpx.AsyncClient, model: str, stream: bool) -> str:
        body = {
            "model": model,
            "stream": stream,
            "max_tokens": 24,
            "temperature": 0,
            "messages": [{"role": "user", "content": "Count to 5."}],
        }
        headers = {"three-mode-within": str(WITHIN)}
        try:
            async with http.stream("POST", f"{self.url}/v1/chat/completions", json=body, headers=headers) as reply:
                if reply.status_code != 200 or not stream:
                    data = json.loads(await reply.aread())
                    return "whole" if reply.status_code == 200 else str(data["error"]["code"])
                last = ""
                async for line in reply.aiter_lines():
                    if line.startswith('data: {"error"'):
                        return str(json.loads(line[6:])["error"]["code"])
                    last = line or last
                return "whole" if last == "data: [DONE]" else "cut"
        except httpx.TimeoutException:
            return "hang"
        except httpx.TransportError as error:
            return type(error).__name__


def rings_of(pid: int) -> int:
    """Rings that the process has open or mapped, which a peer on the bus could leave behind.

    The small pages of the last 256 departed members stay on purpose: receipts read them.
    """
    mapped = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum("memfd:three-mode-ring" in name for name in (*_open(pid), *mapped))


def sockets_of(pid: int) -> int:
    return sum(name.startswith("socket:") for name in _open(pid))


def _open(pid: int) -> list[str]:
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(descriptor))
        except FileNotFoundError:  # closed in this moment
            pass
    return found
