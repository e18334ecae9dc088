"""The agents of a bus that are models: which roles there are, and which of them answer as a model does."""

import time
from typing import NamedTuple

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import ROLE, host_name
from transports.bus import Bus

KEPT = 1.0  # seconds for which the word of a host counts, while its roles stay the same
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
        start = f"{ROLE}{role}@"
        return any(name.startswith(start) for name in self._bus.names())

    async def models(self, within: float) -> list[str]:
        """The roles that are models, as all hosts say in so many seconds."""
        by_host: dict[str, set[str]] = {}
        for name in self._bus.names():
            if name.startswith(ROLE):
                role, _, label = name.removeprefix(ROLE).partition("@")
                by_host.setdefault(host_name(label), set()).add(role)
        self._said = {host: said for host, said in self._said.items() if host in by_host}
        now = time.monotonic()
        asked = [
            host
            for host, roles in by_host.items()
            if (said := self._said.get(host)) is None or said.until < now or said.roles != roles
        ]
        for host, answer in (await host_answers(self._bus, asked, "models", _roles, within)).items():
            if not isinstance(answer, Exception):
                self._said[host] = _Said(frozenset(by_host[host]), frozenset(answer), time.monotonic() + KEPT)
        return sorted({role for host, roles in by_host.items() for role in roles if self._is_model(host, role)})

    def _is_model(self, host: str, role: str) -> bool:
        said = self._said.get(host)
        return said is None or role in said.models or role not in said.roles
