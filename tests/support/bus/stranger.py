"""Process on the registry's socket that is no member: the test chooses its messages and descriptors."""

import array
import os
import socket
from typing import Any

from transports.bus.registry import wire
from transports.bus.registry.channel import UnixChannel
from transports.bus.registry.election import RegistryPaths
from transports.bus.rings.carrier import RingsCarrier
from transports.bus.rings.native import PAGE, PAGE_BYTES
from transports.bus.rings.segments import make


def connect(bus: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(RegistryPaths.of(bus).socket))
    sock.settimeout(5)
    return sock


def hello(**changes: Any) -> wire.Hello:
    fields: dict[str, Any] = {
        "protocol": wire.PROTOCOL,
        "layout": 1,
        "bus": "x",
        "carrier": "rings",
        "label": "evil",
        "pid": 1,
        "endpoints": {},
    }
    return wire.Hello(**{**fields, **changes})


class Stranger:
    """Speaks with the registry as a member of the rings, with descriptors that the test chooses."""

    def __init__(self, bus: str, *fds: int, **changes: Any) -> None:
        self.sock = connect(bus)
        self.say(hello(**{"bus": bus, "layout": RingsCarrier.layout, **changes}), *fds)

    def say(self, message: wire.FromMember, *fds: int) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([wire.pack(message, len(fds))], rights)


class Joined(Stranger):
    """A stranger that joined with a true page, and reads what the registry says."""

    def __init__(self, bus: str, **changes: Any) -> None:
        page, self.page = make(PAGE, PAGE_BYTES)
        fds = [page, os.eventfd(0), os.pidfd_open(os.getpid())]
        super().__init__(bus, *fds, **changes)
        for fd in fds:
            os.close(fd)
        self._channel = UnixChannel(self.sock)
        self.received: list[tuple[wire.FromRegistry, list[int]]] = []

    @property
    def id(self) -> str:
        return next((message.id for message, _ in self.received if isinstance(message, wire.Welcome)), "")

    def read(self) -> bool:
        """Read what has come; False once the registry has ended the connection."""
        try:
            for body, fds in self._channel.receive():
                self.received.append((wire.from_registry(body), fds))
        except (EOFError, OSError):
            return False
        return True

    def answer(self, token: int) -> "tuple[wire.Done | wire.RequestRefused, list[int]] | None":
        self.read()
        for message, fds in self.received:
            if isinstance(message, wire.Done | wire.RequestRefused) and message.token == token:
                return message, fds
        return None

    def forget(self) -> None:
        """Close the descriptors that came, and forget what came with them."""
        for _, fds in self.received:
            for fd in fds:
                os.close(fd)
        self.received.clear()

    def close(self) -> None:
        self.forget()
        self._channel.close()
