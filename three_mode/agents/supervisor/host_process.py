"""A host as its orchestrator holds it: the process, the socket to it, and the news that come over it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from three_mode.agents.host.lines import HostConfig, Lines
from three_mode.errors import PeerLost

_BEGIN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from three_mode.agents.host.main import begin; begin()"
)


class HostProcess:
    """One started process. `on_line` gets what it says, `on_exit` is called once when it has ended, however that was."""

    def __init__(
        self, config: HostConfig, on_line: Callable[[dict[str, Any]], None], on_exit: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line, self._on_exit = on_line, on_exit
        self._lines = Lines()
        self._ready: asyncio.Future[str] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._said = ""
        ours, theirs = socket.socketpair()
        self._socket = ours
        path = json.dumps(config.path)
        # Started from the loop's own thread: the kernel ties the host's life to the thread that started it.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, str(theirs.fileno()), path],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        ours.setblocking(False)
        ours.send(msgspec.json.encode(config) + b"\n")
        self._loop.add_reader(ours, self._readable)
        self._pidfd = _pidfd(self._process.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._ended)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, within: float) -> str:
        """Its member id on the bus, once it is there."""
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(self._ready)
        except TimeoutError:
            self.kill()
            raise PeerLost(f"a host (pid {self.pid}) was not ready within {within:g} s") from None

    def _readable(self) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._socket)
            if self._pidfd is None:
                self._ended()
            return
        for line in self._lines.feed(data):
            if line.get("kind") == "ready" and not self._ready.done():
                self._ready.set_result(line["member"])
            elif line.get("kind") == "failed":
                self._said = str(line.get("error", ""))
            self._on_line(line)

    def _ended(self) -> None:
        """The process has ended. What it said last is read first."""
        if self._gone.done():
            return
        with contextlib.suppress(OSError):
            self._readable()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._loop.remove_reader(self._socket)
        self._socket.close()
        reason = self._said or _how(self._process.wait())
        self._gone.set_result(None)
        if not self._ready.done():
            self._ready.set_exception(PeerLost(f"a host ended before it was ready: {reason}"))
            self._ready.exception()  # whoever waits gets it; nobody need be
        self._on_exit(reason)

    def tell_to_stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(b'{"kind": "stop"}\n')

    def kill(self) -> None:
        if not self._gone.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def ends(self, within: float) -> bool:
        """Whether it has ended, or does so in that time."""
        await asyncio.wait([self._gone], timeout=within)
        return self._gone.done()

    async def gone(self, within: float) -> None:
        """Waits until it has ended; kills it when time is up."""
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._gone)
        except TimeoutError:
            self.kill()
            await asyncio.shield(self._gone)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or an old kernel: the closing socket says it too
        return None


def _how(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "exited" if code == 0 else f"exited with code {code}"
