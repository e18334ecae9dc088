"""Agents that a page looks at, and a page that only reads: `python -m benchmarks._page_cast ADDRESS`."""

import asyncio
import json
import sys
from typing import Any

from three_mode import Agent, handler, on

AGENTS = 512


class Seen(Agent):
    """Answers, and listens."""

    def __init__(self) -> None:
        self.seen = 0

    @handler
    async def echo(self, text: str) -> str:
        return text

    @on("news.*")
    def read(self, item: dict[str, Any]) -> None:
        self.seen += 1


async def read(address: str) -> None:
    """Be a page: each line of standard input has the views that it looks at from then on, with blanks between."""
    import httpx
    from websockets.asyncio.client import connect

    origin, key = address.split("/#key=")
    given = httpx.post(f"{origin}/page/session", json={"key": key}, headers={"origin": origin})  # noqa: ASYNC210
    given.raise_for_status()
    headers = {"cookie": given.headers["set-cookie"].partition(";")[0]}
    url = origin.replace("http", "ws") + "/page/live"
    async with connect(url, additional_headers=headers, origin=origin, max_size=None) as socket:  # type: ignore[arg-type]

        async def take() -> None:
            async for _ in socket:
                pass

        taking = asyncio.create_task(take())
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(json.dumps({"kind": "look", "at": line.split()}))
        taking.cancel()


if __name__ == "__main__":
    asyncio.run(read(sys.argv[1]))
