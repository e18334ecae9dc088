"""Connections that send once and hold on; thousands of them are cheap."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Held(asyncio.Protocol):
    """An attacker's end: it sends once, and keeps nothing of what it reads."""

    def __init__(self, sent: bytes) -> None:
        self._sent = sent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._sent:
            transport.write(self._sent)  # type: ignore[attr-defined]


async def open_many(port: int, count: int, sent: bytes = b"") -> list[asyncio.BaseTransport]:
    """So many connections, a hundred at a time."""
    loop = asyncio.get_running_loop()
    opened: list[asyncio.BaseTransport] = []
    for start in range(0, count, 100):
        made = (loop.create_connection(lambda: Held(sent), "127.0.0.1", port) for _ in range(min(100, count - start)))
        opened += [one for one, _ in await asyncio.gather(*made)]
    return opened


@asynccontextmanager
async def sockets(port: int, count: int, sent: bytes = b"") -> AsyncIterator[None]:
    """So many connections, until the block ends."""
    held = await open_many(port, count, sent)
    try:
        yield
    finally:
        for one in held:
            one.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(0)


@asynccontextmanager
async def all_files() -> AsyncIterator[int]:
    """As many open files as this user may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
