"""The agents of a bus that are models: which roles there are, and which of them answer as a model does."""

import asyncio
import time
from typing import NamedTuple

from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import HOST
from transports.bus import Bus, BusError

KEPT = 1.0  # seconds for which the word of a host counts, while its roles stay the same
_ROLE = "any:"  # `any:brain@host-1` says that host-1 has one of the role `brain`
_roles = decoder_for(list[str])


class _Said(NamedTuple):
    """What a host said of its roles."""

    roles: frozenset[str]
    """Those that it had then."""
    models: frozenset[str]
    until: float


class BusModels:
    """The roles of one bus. A host that does not answer is believed as it was before: what it never spoke of is a model
    until it says that it is none."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._said: dict[str, _Said] = {}  # of each host

    def has(self, role: str) -> bool:
        """Whether an agent has this role, model or not."""
        start = f"{_ROLE}{role}@"
        return any(name.startswith(start) for name in self._bus.names())

    async def models(self, within: float) -> list[str]:
        """The roles that are models, as all hosts say in so many seconds."""
        by_host: dict[str, set[str]] = {}
        for name in self._bus.names():
            if name.startswith(_ROLE):
                role, _, host = name.removeprefix(_ROLE).partition("@")
                by_host.setdefault(host, set()).add(role)
        self._said = {host: said for host, said in self._said.items() if host in by_host}
        now = time.monotonic()
        asked = [
            self._ask(host, frozenset(roles), within)
            for host, roles in by_host.items()
            if (said := self._said.get(host)) is None or said.until < now or said.roles != roles
        ]
        await asyncio.gather(*asked)
        return sorted({role for host, roles in by_host.items() for role in roles if self._is_model(host, role)})

    def _is_model(self, host: str, role: str) -> bool:
        said = self._said.get(host)
        return said is None or role in said.models or role not in said.roles

    async def _ask(self, host: str, roles: frozenset[str], within: float) -> None:
        try:
            reply = await self._bus.ask(f"{HOST}{host}", None, topic="models", within=within)
            self._said[host] = _Said(roles, frozenset(_roles(reply.raw)), time.monotonic() + KEPT)
        except (BusError, ValueError):  # it is busy, has left, or is of another version
            pass
