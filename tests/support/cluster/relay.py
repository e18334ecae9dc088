"""A relay between a gateway and its server: it delays, stalls, and cuts connections, and loses single messages, as a
server does whose reader is slow."""

import asyncio
import random
from types import TracebackType
from typing import Self

from three_mode.testing import Machines

_CHUNK = 65536
_WAITING = 256  # chunks on their way


class Relay:
    """A port of a machine that leads to another port of it. It runs in the loop of the test."""

    def __init__(self, machines: Machines, machine: str, port: int, target: int, seed: int = 0) -> None:
        self._machines, self._machine, self._port, self._target = machines, machine, port, target
        self._chance = random.Random(seed)
        self.delay = 0.0
        """Seconds that each direction takes."""
        self.loss = 0.0
        """Share of the messages to the gateway that are lost."""
        self.lost = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        listening = self._machines.socket(self._machine)
        listening.bind((self._machines.address(self._machine), self._port))
        self._server = await asyncio.start_server(self._accepted, sock=listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # troubles ---------------------------------------------------------------------------------------------------------
    def stall(self) -> None:
        """Let nothing through, and keep all connections."""
        self._flows.clear()

    def go_on(self) -> None:
        """Let all through again, what waited first."""
        self._flows.set()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    # connections ------------------------------------------------------------------------------------------------------
    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop, onward = asyncio.get_running_loop(), self._machines.socket(self._machine)
        onward.setblocking(False)
        try:
            await loop.sock_connect(onward, (self._machines.address(self._machine), self._target))
        except OSError:
            onward.close()
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(sock=onward)
        both = {writer, there_writer}
        self._writers |= both
        self._start(self._pump(reader, there_writer, both, None))
        self._start(self._pump(there_reader, writer, both, Messages()))

    def _start(self, work: "asyncio.Coroutine[None, None, None]") -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pump(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        both: set[asyncio.StreamWriter],
        messages: "Messages | None",
    ) -> None:
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING)

        async def deliver() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._flows.wait()
                if messages is not None:
                    data = b"".join(part for part in messages.parts(data) if not self._loses(part))
                sink.write(data)
                await sink.drain()

        delivering = loop.create_task(deliver())
        try:
            while data := await source.read(_CHUNK):
                await queue.put((loop.time() + self.delay, data))
        except OSError:
            pass
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            self._writers -= both
            for writer in both:
                writer.transport.abort()

    def _loses(self, part: bytes) -> bool:
        if not self.loss or not part.startswith(b"MSG ") or self._chance.random() >= self.loss:
            return False
        self.lost += 1
        return True


class Messages:
    """What a server of NATS says, cut into whole messages and lines."""

    def __init__(self) -> None:
        self._rest = b""

    def parts(self, data: bytes) -> list[bytes]:
        """Take bytes as they come; return the messages and lines that are complete with them."""
        data, found, start = self._rest + data, [], 0
        while (line_end := data.find(b"\r\n", start)) >= 0:
            end = line_end + 2
            if data.startswith(b"MSG ", start):
                end += int(data[start:line_end].rpartition(b" ")[2]) + 2
            if end > len(data):
                break
            found.append(data[start:end])
            start = end
        self._rest = data[start:]
        return found
