"""A page without a browser: its session, its socket, its orders."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

WITHIN = 20.0


class PageClient:
    """A page that was let in."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection, origin: str) -> None:
        self.http, self.socket, self.origin = http, socket, origin
        self._rows: list[Any] = []

    async def look(self, *at: str, agent: str | None = None) -> None:
        await self.socket.send(json.dumps({"kind": "look", "at": at, "agent": agent}))

    async def told(self, kind: str, wanted: Callable[[Any], Any] = lambda _: True) -> Any:
        """The next message of a kind that is wanted."""
        async with asyncio.timeout(WITHIN):
            while True:
                message = json.loads(await self.socket.recv())
                if message["kind"] == kind and wanted(message):
                    return message

    async def event(self, what: str) -> list[Any]:
        """The next event of a kind: when, what, agent, text."""
        while not any(row[1] == what for row in self._rows):
            self._rows += (await self.told("events"))["rows"]
        found = next(row for row in self._rows if row[1] == what)
        self._rows.remove(found)
        return found

    async def steer(self, act: str, *names: str, level: str = "") -> httpx.Response:
        body = {"act": act, "names": names, "level": level}
        return await self.http.post("/page/steer", json=body, headers={"origin": self.origin})


@asynccontextmanager
async def let_in(address: str) -> AsyncIterator[PageClient]:
    """Give the key of a page's address, and open its socket."""
    origin, key = address.split("/#key=")
    async with httpx.AsyncClient(base_url=origin) as http:
        given = await http.post("/page/session", json={"key": key}, headers={"origin": origin})
        assert given.status_code == 204, given.text
        cookie = given.headers["set-cookie"].partition(";")[0]
        url = origin.replace("http", "ws") + "/page/live"
        async with connect(url, additional_headers={"cookie": cookie}, origin=origin) as socket:  # type: ignore[arg-type]
            http.headers["cookie"] = cookie
            yield PageClient(http, socket, origin)
