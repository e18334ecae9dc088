"""The end of a worker's socket at the worker: it says when it serves, and is told when to stop."""

import asyncio
import os
import signal

from three_mode.agents.host.lines import write_line
from three_mode.cli.workers.order import WorkerOrder


class WorkerLink:
    """`fd` is the socket. It closes when the other process dies, which is an order to stop as well."""

    def __init__(self, fd: int, order: WorkerOrder) -> None:
        self._fd, self.order = fd, order
        self._stop = asyncio.Event()

    def say_ready(self, lines: list[str]) -> None:
        """This worker listens. `lines`: what a person is told, by whoever started it."""
        write_line(self._fd, {"kind": "ready", "lines": lines})

    async def until_stopped(self) -> None:
        """Returns when this worker is to end. If the other process dies after that, the caller is cancelled."""
        loop, caller = asyncio.get_running_loop(), asyncio.current_task()

        def closed() -> None:
            if os.read(self._fd, 64):
                return
            loop.remove_reader(self._fd)
            if self._stop.is_set() and caller is not None:
                caller.cancel()
            self._stop.set()

        loop.add_reader(self._fd, closed)
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        await self._stop.wait()
