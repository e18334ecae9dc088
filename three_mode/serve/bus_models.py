"""The agents of a bus that are models: which roles there are, and which of them answer as a model does."""

import asyncio

from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import HOST
from transports.bus import Bus, BusError

_ROLE = "any:"  # `any:brain@host-1` says that host-1 has one of the role `brain`
_roles = decoder_for(list[str])


class BusModels:
    """The roles of one bus. A host that does not say which of its roles are models is believed as it was before: its
    roles are models until it says that they are not."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._models: dict[str, frozenset[str]] = {}  # of a host, as it said last

    def has(self, role: str) -> bool:
        """Whether an agent has this role, model or not."""
        start = f"{_ROLE}{role}@"
        return any(name.startswith(start) for name in self._bus.names())

    async def roles(self, within: float) -> list[str]:
        """The roles that are models, as all hosts say in so many seconds."""
        by_host: dict[str, set[str]] = {}
        for name in self._bus.names():
            if name.startswith(_ROLE):
                role, _, host = name.removeprefix(_ROLE).partition("@")
                by_host.setdefault(host, set()).add(role)
        self._models = {host: models for host, models in self._models.items() if host in by_host}
        await asyncio.gather(*(self._ask(host, within) for host in by_host))
        return sorted(
            {role for host, roles in by_host.items() for role in roles if role in self._models.get(host, roles)}
        )

    async def _ask(self, host: str, within: float) -> None:
        try:
            reply = await self._bus.ask(f"{HOST}{host}", None, topic="models", within=within)
            self._models[host] = frozenset(_roles(reply.raw))
        except (BusError, ValueError):  # it is busy, has left, or is of another version
            pass
