"""An HTTP server that answers messages of MCP as a test says, byte by byte."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.connection.streams import listening

# Answers one request: its method, headers (in lower case) and message; writes to the client.
Answer = Callable[[str, dict[str, str], Any, asyncio.StreamWriter], Awaitable[None]]


def head(status: int, kind: str = "application/json", length: int | None = None, more: str = "") -> bytes:
    ends = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{ends}\r\n{more}\r\n".encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def reply(writer: asyncio.StreamWriter, message: Any, status: int = 200, more: str = "") -> None:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    writer.write(head(status, length=len(body), more=more) + body)
    await writer.drain()


def result(message: Any, found: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message["id"], "result": found}


def failure(message: Any, code: int = -32601) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": "no"}}


async def greet(message: Any, writer: asyncio.StreamWriter, more: str = "") -> bool:
    """Answers all but calls, as a server of the handshake era without a fault; whether it did."""
    method = message.get("method")
    if method == "server/discover":
        await reply(writer, failure(message), 404)
    elif method == "initialize":
        found = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x"}}
        await reply(writer, result(message, found), more=more)
    elif "id" not in message:
        writer.write(head(202, length=0))
    elif method == "tools/list":
        await reply(writer, result(message, {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}))
    else:
        return False
    return True


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[str]:
    """The URL of a server that answers so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            await answer(lines[0].split()[0], headers, json.loads(body) if body else {}, writer)

    async with listening(serve) as port:
        yield f"http://127.0.0.1:{port}/mcp"
