"""Servers of A2A that misbehave: a card that is right, and an answer as the test says."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.connection.streams import listening

Reply = Callable[["Hostile", str, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Hostile:
    """What the server was asked, as (head, body)."""

    reply: Reply
    streaming: bool = True
    interface: str = ""  # URL in its card; "" for its own
    binding: str = "JSONRPC"
    port: int = 0
    asked: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def card(self) -> dict[str, Any]:
        url = self.interface or self.url + "/rpc"
        interface = {"url": url, "protocolBinding": self.binding, "protocolVersion": "1.0"}
        return {
            "name": "hostile",
            "description": "",
            "version": "1",
            "supportedInterfaces": [interface],
            "capabilities": {"streaming": self.streaming},
            "skills": [],
        }

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            lines = head.lower().split("\r\n")
            length = next((int(line.split(":")[1]) for line in lines if line.startswith("content-length:")), 0)
            body = json.loads(await reader.readexactly(length)) if length else None
            if head.startswith("GET /.well-known/agent-card.json"):
                await document(writer, self.card())
                continue
            self.asked.append((head, body))
            method = body["method"] if isinstance(body, dict) else ""
            if method == "CancelTask":
                await document(writer, rpc({"id": "t", "status": {"state": "TASK_STATE_CANCELED"}}, body["id"]))
                continue
            await self.reply(self, method, writer)
            return


@asynccontextmanager
async def hostile(reply: Reply, **fields: Any) -> AsyncIterator[Hostile]:
    """The server, while the block runs."""
    found = Hostile(reply, **fields)
    async with listening(found.answer) as port:
        found.port = port
        yield found


def rpc(result: Any, number: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": result}


def task(state: str = "TASK_STATE_WORKING") -> dict[str, Any]:
    return {"id": "t", "contextId": "c", "status": {"state": state}}


async def document(writer: asyncio.StreamWriter, value: Any, status: str = "200 OK") -> None:
    """A whole answer of JSON, or of these bytes."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    writer.write(
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
    )
    await writer.drain()


async def begin(writer: asyncio.StreamWriter, *events: Any) -> None:
    """A stream that goes on: its head, and these events."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    for event in events:
        data = event if isinstance(event, bytes) else json.dumps(rpc(event)).encode()
        writer.write(b"data: " + data + b"\n\n")
    await writer.drain()
