"""Joins the bus that a command line names, or says which ones there are."""

from three_mode.errors import ConfigurationError
from transports.bus import Bus, BusError, BusOptions, running_buses


async def join(name: str, label: str) -> Bus:
    try:
        return await Bus.join(name, BusOptions(create=False, label=label))
    except BusError as error:
        running = ", ".join(running_buses())
        raise ConfigurationError(
            f"cannot join the bus {name!r}: {error}", hint=f"running now: {running or 'none'}"
        ) from None
