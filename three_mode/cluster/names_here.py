"""Names of this node: agents and roles that its hosts have on the bus, told to the core as they come and go."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from three_mode.agents.calling.roles import Roles
from three_mode.agents.calling.session import Session
from three_mode.agents.wire.orders import HOST
from three_mode.cluster.core.frames import Offer, Surroundings
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.shown import ROLE
from three_mode.cluster.home import NodeHome
from transports.bus import NamesChanged

_BELOW = "/"  # in the name of every agent


class NamesHere:
    """Watcher of the bus. `foreign()` are the members of the bus that stand for other nodes, `offer` is what this node
    offers to those that place agents."""

    def __init__(
        self,
        core: ClusterNode,
        session: Session,
        home: NodeHome,
        foreign: Callable[[], set[str]],
        flush: Callable[[], None],
        offer: Offer,
    ) -> None:
        self._offer = offer
        self._core, self._session, self._home, self._foreign, self._flush = core, session, home, foreign, flush
        self.roles = Roles()
        """Roles of this node alone."""
        self._role_names: set[str] = set()
        self._watch = session.bus.watch(self._on_change)
        foreign_members = foreign()
        by_member: dict[str, list[str]] = {}
        for name, member in session.bus.names().items():
            by_member.setdefault(member, []).append(name)
        for member, names in by_member.items():
            if member not in foreign_members:
                self._add(names)

    def close(self) -> None:
        """Watch no longer."""
        self._watch.close()

    def hosts(self) -> dict[str, str]:
        """Return this node's own hosts, by their members."""
        foreign = self._foreign()
        return {member: host for member, host in self._session.hosts.items() if member not in foreign}

    def _on_change(self, change: Any) -> None:
        if not isinstance(change, NamesChanged) or change.member in self._foreign():
            return
        died = change.member not in self._session.bus.members()
        gone = [name for name in change.removed if _is_agent(name)]
        away = {name for name in gone if died and self._home.comes_back(name)}
        self._core.lose(time.monotonic(), away)
        self._core.release(name for name in gone if name not in away)
        roles = [name for name in change.removed if name.startswith(ROLE)]
        self._role_names.difference_update(roles)
        self.roles.disappeared(roles)
        self._add(change.added)
        self._flush()

    def _add(self, names: Iterable[str]) -> None:
        names = list(names)
        self._core.claim(name for name in names if _is_agent(name))
        roles = [name for name in names if name.startswith(ROLE)]
        self._role_names.update(roles)
        self.roles.appeared(roles)
        here = sorted({name.removeprefix(ROLE).partition("@")[0] for name in self._role_names})
        self._core.surround(Surroundings(tuple(here), dict(self._home.patterns()), self._offer))


def _is_agent(name: str) -> bool:
    return _BELOW in name and not name.startswith((HOST, ROLE))
