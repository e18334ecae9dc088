"""The bus of the running event loop, for connections that were given none.

An `LLMConnection()` made by an application's own code reaches agents wherever an orchestrator, a host or `join` runs.
"""

import asyncio
from weakref import WeakKeyDictionary

from three_mode.errors import ModeUnavailable
from transports.bus import Bus

_JOINED: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Bus]] = WeakKeyDictionary()


def joined(bus: Bus) -> None:
    """Note that the running loop has joined a bus."""
    _JOINED.setdefault(asyncio.get_running_loop(), []).append(bus)


def left(bus: Bus) -> None:
    """Note that the running loop has left a bus."""
    buses = _JOINED.get(asyncio.get_running_loop(), [])
    if bus in buses:
        buses.remove(bus)


def bus_here() -> Bus:
    """Return the one bus of the running loop; ModeUnavailable where there is none, or more than one."""
    buses = _JOINED.get(asyncio.get_running_loop(), [])
    if len(buses) == 1:
        return buses[0]
    raise ModeUnavailable(
        "there are several buses here" if buses else "there is no bus here to reach an agent",
        hint="use the `llm` of an orchestrator or an agent, LLMConnection(bus=orc.bus), or --bus on the command line",
    )
