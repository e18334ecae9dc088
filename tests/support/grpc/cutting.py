"""A proxy that passes on so many bytes of what a server says, and then cuts the connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CuttingProxy:
    """`after` is the bytes that pass; None: all. `passed` counts those of the newest connection."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.after: int | None = None
        self.passed = 0
        self.port = 0
        self.running: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self.running.add(task)
        task.add_done_callback(self.running.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, into = await asyncio.open_connection("127.0.0.1", self._to)
        self.passed, left = 0, self.after

        async def up() -> None:
            while data := await reader.read(65536):
                into.write(data)
            into.close()  # the client has gone

        sending = asyncio.create_task(up())
        try:
            while data := await upstream.read(65536):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                self.passed += len(data)
                writer.write(data)
                await writer.drain()
                if left == 0:
                    break
        except OSError:
            pass
        finally:
            sending.cancel()
            for each in (into, writer):
                each.close()
            await asyncio.gather(sending, into.wait_closed(), writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def cutting(port: int) -> AsyncIterator[CuttingProxy]:
    """Runs one in front of a port."""
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.running:
            task.cancel()
        await asyncio.gather(*proxy.running, return_exceptions=True)
