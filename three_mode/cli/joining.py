"""Joining of the bus that a command line names, and the agents that are on it."""

import re

from three_mode.errors import ConfigurationError
from transports.bus import Bus, BusError, BusOptions, running_buses

_AGENT = re.compile(r"[^/@:]+/\d+")


async def join(name: str, label: str) -> Bus:
    """Joins a running bus. Where there is none of that name, the error lists those that run."""
    try:
        return await Bus.join(name, BusOptions(create=False, label=label))
    except BusError as error:
        running = ", ".join(running_buses())
        raise ConfigurationError(
            f"cannot join the bus {name!r}: {error}", hint=f"running now: {running or 'none'}"
        ) from None


def agents_on(bus: Bus) -> tuple[list[str], list[str]]:
    """The roles that agents have on a bus, and the agents."""
    names = bus.names()
    roles = {name[4:].partition("@")[0] for name in names if name.startswith("any:")}
    return sorted(roles), sorted(name for name in names if _AGENT.fullmatch(name))


def address_on(bus: Bus, model: str) -> str | None:
    """The address of a model that is an agent on the bus: `clerk` is `agent:clerk`. None: the bus has no such agent."""
    roles, agents = agents_on(bus)
    return f"agent:{model}" if model in roles or model in agents else None
