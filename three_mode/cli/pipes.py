"""Standard input and output without threads: pipes and terminals by the event loop, files as they are."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def read_input(descriptor: int) -> AsyncIterator[Callable[[int], Awaitable[bytes]]]:
    """A function that reads some bytes, and none at the end."""
    if not _can_wait(descriptor):

        async def read(most: int) -> bytes:
            return os.read(descriptor, most)

        yield read
        return
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: protocol, os.fdopen(os.dup(descriptor), "rb", 0)
    )
    try:
        yield reader.read
    finally:
        transport.close()


@asynccontextmanager
async def write_output(descriptor: int) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """A function that writes bytes, and returns when more can be taken."""
    if not _can_wait(descriptor):

        async def write(data: bytes) -> None:
            write_all(descriptor, data)

        yield write
        return
    loop = asyncio.get_running_loop()
    protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader())
    transport, _ = await loop.connect_write_pipe(lambda: protocol, os.fdopen(os.dup(descriptor), "wb", 0))
    transport.set_write_buffer_limits(0)  # `drain` waits until all is written: nothing is lost at the end
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def write_and_drain(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        yield write_and_drain
    finally:
        transport.close()


def write_all(descriptor: int, data: bytes) -> None:
    """Writes bytes, however long that takes."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _can_wait(descriptor: int) -> bool:
    """Whether an event loop can wait for it: a file and /dev/null are always ready."""
    mode = os.fstat(descriptor).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(descriptor))
