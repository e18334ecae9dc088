"""Lines between an orchestrator and its host, over the socket that the host starts with: one JSON value a line.

The socket carries what must get through while the host's event loop is blocked, and its end says that the other process
has died. Orders go over the bus.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from three_mode.agents.keeping.options import KeepOptions

LONGEST = 1024 * 1024


class HostConfig(msgspec.Struct, frozen=True):
    """Configuration of a host: the first line that it gets."""

    bus: str
    """Name of the bus."""
    label: str
    """Name of the host: `host-1`."""
    path: list[str]
    """`sys.path` of the host."""
    seed: int = 0
    """Seed of the agents' random numbers, together with their names."""
    blocked_after: float = 1.0
    """Seconds after which an event loop that does not turn is reported."""
    default_within: float = 30.0
    """Seconds of a call without a deadline."""
    record: str = ""
    """File to record messages in; empty: none."""
    tracer: str = ""
    """Function that makes the host's tracer, as `module:name`; empty: none."""
    log_levels: dict[str, int] = {}
    """Logger -> level, as in the orchestrator's program when the host starts; the root's name is empty."""
    bus_options: dict[str, Any] = {}
    """Fields of `BusOptions` that differ from the defaults."""
    llm_options: str = ""
    """Options of the agents' `llm`, with keys: they go over this socket and never over the bus. Empty: the defaults."""
    llm_events: list[str] = []
    """Kinds of events of the agents' calls to models that somebody listens to."""
    page_content: bool = False
    """Whether those who look at an agent may read its messages."""
    talks: str = ""
    """File of conversations that `agent.talk` keeps; empty: none."""
    keep: KeepOptions = KeepOptions()
    """Where agents keep their state. Without a file, hosts have the orchestrator keep it."""

    def __repr__(self) -> str:
        return f"HostConfig({self.label} on {self.bus})"


class Lines:
    """Splitter of received bytes into whole lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Add received bytes, and yield the values of the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST:
            raise ValueError("a line without an end")
        for line in lines:
            if line:
                yield json.loads(line)


def write_line(fd: int, value: dict[str, Any]) -> bool:
    """Write one line; return False if the other process has closed the socket."""
    try:
        data = json.dumps(value).encode() + b"\n"
        while data:
            data = data[os.write(fd, data) :]
    except BlockingIOError:
        return True  # the other process does not read: the line would be stale later, so it is dropped
    except OSError:
        return False
    return True
