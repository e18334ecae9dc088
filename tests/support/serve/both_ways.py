"""What tests need that ask an endpoint one thing in two ways, with a task and without."""

import asyncio
import re
from typing import Any, Protocol

CHAT, MESSAGES, RESPONSES = "/v1/chat/completions", "/v1/messages", "/v1/responses"
DIFFERS = (
    rb'date: [^\r]*|request-id: [^\r]*|content-length: \d+|"id":"[^"]*"|"created(?:_at)?":\d+|"completed_at":\d+'
    rb'|"(?:latency|at)":[\d.e-]+|"in [\d.]+ s: '
)
"""What differs between two answers to one request: numbers, times, waits that chance has a say in."""


class Endpoint(Protocol):
    """An endpoint of a test."""

    @property
    def port(self) -> int: ...


def request(path: str, body: bytes, *fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *fields, f"content-length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def with_messages(path: str, said: list[Any]) -> dict[str, Any]:
    return {"input": said} if path == RESPONSES else {"messages": said}


async def ask(found: Endpoint, data: bytes) -> bytes:
    """Send a request; return the whole response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", found.port, limit=1 << 24)
    try:
        writer.write(data)
        async with asyncio.timeout(30):
            return await whole(reader)
    finally:
        writer.close()


async def whole(reader: asyncio.StreamReader) -> bytes:
    """Read one response, whose body has a length or comes in chunks."""
    said = await reader.readuntil(b"\r\n\r\n")
    if length := re.search(rb"content-length: (\d+)", said):
        return said + await reader.readexactly(int(length[1]))
    left = -1 if b"transfer-encoding: chunked" in said else 0
    while left:
        size = await reader.readuntil(b"\r\n")
        left = int(size, 16)
        said += size + await reader.readexactly(left + 2)
    return said


def in_tasks() -> int:
    """Requests that are being answered by tasks."""
    return sum("Cycle._run" in repr(task.get_coro()) for task in asyncio.all_tasks())
