"""One worker process, at the process that starts it."""

import asyncio
import contextlib
import signal
import socket
import sys
from typing import Any

import msgspec

from three_mode.agents.host.lines import Lines
from three_mode.agents.supervisor.host_process import how_it_ended
from three_mode.cli.workers.order import WorkerOrder

_BEGIN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from three_mode.cli.workers.body import begin; sys.exit(begin(int(sys.argv[1])))"
)


class WorkerProcess:
    """A worker that was started. `error` is what it said of its end, if it could."""

    def __init__(self, process: asyncio.subprocess.Process, ours: socket.socket) -> None:
        self._process, self._socket = process, ours
        self._lines = Lines()
        self._listener: asyncio.Task[None] = asyncio.create_task(self._listen())
        self.ready: asyncio.Future[list[str] | None] = asyncio.get_running_loop().create_future()
        """What the worker has to tell a person, once it serves; None if it ended before."""
        self.error = ""

    @classmethod
    async def start(cls, order: WorkerOrder) -> "WorkerProcess":
        """Starts a process with this order."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _BEGIN,
                str(theirs.fileno()),
                msgspec.json.encode(order.path).decode(),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        started = cls(process, ours)
        with contextlib.suppress(OSError):  # it has ended already, which shows below
            await asyncio.get_running_loop().sock_sendall(ours, msgspec.json.encode(order) + b"\n")
        return started

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """Tells it to end in order."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self) -> str:
        """Waits for its end, and returns the reason."""
        code = await self._process.wait()
        await asyncio.wait([self._listener])
        return self.error or how_it_ended(code)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while data := await loop.sock_recv(self._socket, 65536):
                for line in self._lines.feed(data):
                    self._take(line)
        except OSError:
            pass  # it was killed
        finally:
            self._socket.close()
            if not self.ready.done():
                self.ready.set_result(None)

    def _take(self, line: dict[str, Any]) -> None:
        if line["kind"] == "ready" and not self.ready.done():
            self.ready.set_result(line["lines"])
        elif line["kind"] == "failed":
            self.error = str(line["error"])
