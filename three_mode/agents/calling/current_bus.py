"""The bus that this event loop is on: a connection that was given none speaks on it, so that code which makes its own
`LLMConnection()` reaches agents wherever an orchestrator, a host or `join` runs."""

import asyncio
from weakref import WeakKeyDictionary

from three_mode.errors import ModeUnavailable
from transports.bus import Bus

_JOINED: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Bus]] = WeakKeyDictionary()


def joined(bus: Bus) -> None:
    _JOINED.setdefault(asyncio.get_running_loop(), []).append(bus)


def left(bus: Bus) -> None:
    here = _JOINED.get(asyncio.get_running_loop(), [])
    if bus in here:
        here.remove(bus)


def bus_here() -> Bus:
    """The one bus of this loop; ModeUnavailable where there is none, or more than one."""
    here = _JOINED.get(asyncio.get_running_loop(), [])
    if len(here) == 1:
        return here[0]
    raise ModeUnavailable(
        "there are several buses here" if here else "there is no bus here to reach an agent",
        hint="use the `llm` of an orchestrator or an agent, LLMConnection(bus=orc.bus), or --bus on the command line",
    )
