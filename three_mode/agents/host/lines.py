"""What an orchestrator and its host say over the socket that the host is born with: one JSON value a line.

It carries what must get through while the host's loop is blocked, and its end says that the other side has died. Orders go
over the bus.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import msgspec

LONGEST = 1024 * 1024


class HostConfig(msgspec.Struct, frozen=True):
    """What a host is told first."""

    bus: str
    label: str
    path: list[str]
    seed: int = 0
    blocked_after: float = 1.0
    default_within: float = 30.0
    record: str = ""
    tracer: str = ""
    """Where a host finds the function that makes its tracer: `module:name`."""
    bus_options: dict[str, Any] = {}


class Lines:
    """Bytes as they come, whole lines as they go."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            raise ValueError("a line without an end")
        for line in lines:
            if line:
                yield json.loads(line)


def write_line(fd: int, value: dict[str, Any]) -> bool:
    """Writes one line; False if nobody reads any more."""
    try:
        data = json.dumps(value).encode() + b"\n"
        while data:
            data = data[os.write(fd, data) :]
    except BlockingIOError:
        return True  # the other side does not read: what is said here is for now, and stale later
    except OSError:
        return False
    return True
