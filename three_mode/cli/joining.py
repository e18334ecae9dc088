"""Joining of the bus that a command line names."""

from three_mode.errors import ConfigurationError
from transports.bus import Bus, BusError, BusOptions, running_buses


async def join(name: str, label: str) -> Bus:
    """Joins a running bus. Where there is none of that name, the error lists those that run."""
    try:
        return await Bus.join(name, BusOptions(create=False, label=label))
    except BusError as error:
        running = ", ".join(running_buses())
        raise ConfigurationError(
            f"cannot join the bus {name!r}: {error}", hint=f"running now: {running or 'none'}"
        ) from None
