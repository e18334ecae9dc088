"""Host process at its orchestrator: the process, the socket to it, and the lines that come over the socket."""

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
from three_mode.agents.host.start_note import RunningStart, StartNote, new_file
from three_mode.errors import PeerLost

_BEGIN = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from three_mode.agents.host.main import begin; begin()"
)


class HostProcess:
    """One started host process.

    `on_line` gets each line of it; `on_exit` is called once, with the reason of its end.
    """

    def __init__(
        self, config: HostConfig, on_line: Callable[[dict[str, Any]], None], on_exit: Callable[[str], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line, self._on_exit = on_line, on_exit
        self._lines = Lines()
        self._ready: asyncio.Future[str] = self._loop.create_future()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._last_error = ""
        self._ending = False  # the end of the process is being noted
        self.exit_reason = ""
        """Why the process ended; empty while it runs."""
        self.ended_in: RunningStart | None = None
        """Agent that the host was making when its process ended; None: none, or the process runs."""
        note = new_file()
        self._note = StartNote(note)
        ours, theirs = socket.socketpair()
        self._socket = ours
        path = json.dumps(config.path)
        # Started from the loop's own thread: the kernel ties the host's life to the thread that started it.
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BEGIN, str(theirs.fileno()), path, str(note)],
                pass_fds=[theirs.fileno(), note],
                stdin=subprocess.DEVNULL,
            )
        except OSError:
            ours.close()
            self._note.close()
            raise
        finally:
            theirs.close()
            os.close(note)
        ours.setblocking(False)
        ours.send(msgspec.json.encode(config) + b"\n")
        self._loop.add_reader(ours, self._readable)
        self._pidfd = _pidfd(self._process.pid)
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._on_end)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def starting(self) -> RunningStart | None:
        """Return the agent that the host is making at this moment: one that takes long blocks its event loop."""
        return None if self._exited.done() else self._note.read()

    async def ready(self, within: float) -> str:
        """Wait until the host is on the bus, and return its member id; PeerLost after `within` seconds."""
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
                self._on_end()  # unless it is the end that reads here
            return
        for line in self._lines.feed(data):
            if line.get("kind") == "ready" and not self._ready.done():
                self._ready.set_result(line["member"])
            elif line.get("kind") == "failed":
                self._last_error = str(line.get("error", ""))
            self._on_line(line)

    def _on_end(self) -> None:
        """Note the end of the process, after a last read of its lines."""
        if self._ending:
            return
        self._ending = True
        with contextlib.suppress(OSError):
            self._readable()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None
        self._loop.remove_reader(self._socket)
        self._socket.close()
        code = self._process.wait()
        self.exit_reason = reason = self._last_error or how_it_ended(code)
        self.ended_in = self._note.read()
        self._note.close()
        self._exited.set_result(None)
        if not self._ready.done():
            self._ready.set_exception(PeerLost(f"a host ended before it was ready: {reason}"))
            self._ready.exception()  # retrieved here: there may be nobody who waits
        self._on_exit(reason)

    def tell_to_stop(self) -> None:
        """Ask the host to end in order."""
        with contextlib.suppress(OSError):
            self._socket.send(b'{"kind": "stop"}\n')

    def kill(self) -> None:
        """End the process at once, with SIGKILL."""
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)

    async def ends(self, within: float) -> bool:
        """Return whether the process ends within `within` seconds, or has ended."""
        await asyncio.wait([self._exited], timeout=within)
        return self._exited.done()

    async def gone(self, within: float) -> None:
        """Wait until the process has ended; kill it after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._exited)
        except TimeoutError:
            self.kill()
            await asyncio.shield(self._exited)


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or an old kernel: the closing socket shows the end too
        return None


def how_it_ended(code: int) -> str:
    """Say an exit code in words."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return "exited" if code == 0 else f"exited with code {code}"
