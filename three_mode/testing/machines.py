"""Machines on one computer: network namespaces that a bridge joins, for programs that are to run on several machines.

For Linux, as root, with `ip` of iproute2. They have addresses of their own and see nothing of this computer's network;
files, processes and clocks are shared.
"""

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from three_mode.errors import ModeUnavailable

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_MOST = 250


class Machines:
    """Network of a few machines, `with Machines("left", "right") as machines:`; it is gone at the end of the block.

    What still runs in them then goes on without a network.
    """

    def __init__(self, *names: str) -> None:
        if not 0 < len(names) <= _MOST or len(set(names)) < len(names):
            raise ValueError(f"a network has 1 to {_MOST} machines, each of another name")
        self._prefix = f"three-mode-{secrets.token_hex(3)}"
        self._numbers = {name: number for number, name in enumerate(names, 1)}
        self._switch = f"{self._prefix}-switch"
        self._made: list[str] = []

    @staticmethod
    def refused() -> str:
        """Return why no machines can be made here; empty where they can."""
        if shutil.which("ip") is None:
            return "`ip` is not installed: apt-get install iproute2"
        name = f"three-mode-{secrets.token_hex(3)}"
        tried = _ip("netns", "add", name)
        if tried.returncode:
            return f"network namespaces are refused: {tried.stderr.strip()}"
        bridged = _ip("-n", name, "link", "add", "bridge", "type", "bridge")
        _ip("netns", "delete", name)
        return f"bridges are refused: {bridged.stderr.strip()}" if bridged.returncode else ""

    # start and end ----------------------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        try:
            self._make(self._switch)
            self._set(self._switch, "link", "add", "bridge", "type", "bridge")
            self._set(self._switch, "link", "set", "bridge", "up")
            for name, number in self._numbers.items():
                self._add(self.namespace(name), f"port-{number}", self.address(name))
        except BaseException:
            self._delete()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._delete()

    def _add(self, namespace: str, port: str, address: str) -> None:
        self._make(namespace)
        pair = ("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self._set(self._switch, *pair)
        self._set(self._switch, "link", "set", port, "master", "bridge", "up")
        self._set(namespace, "address", "add", f"{address}/24", "dev", "eth0")
        self._set(namespace, "link", "set", "eth0", "up")
        self._set(namespace, "link", "set", "lo", "up")

    def _make(self, namespace: str) -> None:
        _checked(_ip("netns", "add", namespace))
        self._made.append(namespace)

    def _set(self, namespace: str, *words: str) -> None:
        _checked(_ip("-n", namespace, *words))

    def _delete(self) -> None:
        while self._made:
            _ip("netns", "delete", self._made.pop())

    # what runs on them ------------------------------------------------------------------------------------------------
    def namespace(self, name: str) -> str:
        """Return the name of a machine's namespace, as `ip netns` has it."""
        return f"{self._prefix}-{self._numbers[name]}"

    def address(self, name: str) -> str:
        """Return the address of a machine."""
        return f"10.77.0.{self._numbers[name]}"

    def command(self, name: str, command: Sequence[str]) -> list[str]:
        """Return the command that runs a command on a machine. The process is the command's own: signals reach it."""
        return ["ip", "netns", "exec", self.namespace(name), *command]

    def socket(self, name: str) -> socket.socket:
        """Return a new TCP socket of a machine, for this process."""
        made: list[socket.socket] = []
        refused: list[OSError] = []

        def make() -> None:  # a thread of its own: the namespace of this one stays
            try:
                with open(f"/run/netns/{self.namespace(name)}") as namespace:
                    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _NEW_NETWORK):
                        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            except OSError as error:
                refused.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if refused:
            raise refused[0]
        return made[0]

    # the cable --------------------------------------------------------------------------------------------------------
    def unplug(self, name: str) -> None:
        """Cut a machine off: what it sends and what is sent to it is lost, and nobody is told."""
        self._set(self._switch, "link", "set", f"port-{self._numbers[name]}", "down")

    def plug(self, name: str) -> None:
        """Let a machine reach the others again."""
        self._set(self._switch, "link", "set", f"port-{self._numbers[name]}", "up")


def _ip(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ip", *words], check=False, capture_output=True, text=True, timeout=30)


def _checked(done: "subprocess.CompletedProcess[str]") -> None:
    if done.returncode:
        raise ModeUnavailable(
            f"`{' '.join(done.args)}` failed: {done.stderr.strip()}",
            hint="network namespaces want Linux, root, and iproute2",
        )
