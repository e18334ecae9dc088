"""Agents of the tests of large payloads."""

import hashlib
from collections.abc import AsyncIterator

from three_mode import Agent, handler, on


def content(size: int) -> bytes:
    """Return bytes that differ from place to place."""
    return (b"%d," % size + bytes(range(256)) * (size // 256 + 1))[:size]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Store(Agent):
    """Takes and gives bytes."""

    def __init__(self) -> None:
        self.got: list[str] = []
        self.heard: list[str] = []

    @handler
    async def put(self, data: bytes) -> str:
        return digest(data)

    @handler
    async def give(self, size: int) -> bytes:
        return content(size)

    @handler
    async def parts(self, sizes: list[int]) -> AsyncIterator[bytes]:
        for size in sizes:
            yield content(size)

    @handler
    async def take(self, data: bytes) -> None:
        self.got.append(digest(data))

    @handler
    async def fails(self, size: int) -> None:
        raise ValueError("x" * size)

    @handler(concurrent=100)
    async def state(self) -> tuple[list[str], list[str]]:
        return self.got, self.heard

    @handler(concurrent=100)
    async def ping(self) -> int:
        return 1

    @on("files.*")
    def read(self, data: bytes) -> None:
        self.heard.append(digest(data))
