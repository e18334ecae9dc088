"""What of other nodes is shown at this one: each agent at one node, and their roles while they can be reached; and the
patterns of all that are known."""

from collections.abc import Iterable, Mapping

from three_mode.cluster.core.actions import NamesHidden, NamesShown, PatternsChanged
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.peers import Peers

ROLE = "any:"

ShowAction = NamesHidden | NamesShown | PatternsChanged


class ShownNames:
    """The names that are shown, each with its node. `names` are the views of the other nodes."""

    def __init__(self, own: OwnNames, names: Mapping[str, NamesOf], peers: Peers) -> None:
        self._own, self._names, self._peers = own, names, peers
        self.owners: dict[str, str] = {}
        """Agent elsewhere -> the node that is shown to have it."""
        self.roles: dict[str, frozenset[str]] = {}
        """Node -> its roles that are shown."""
        self._patterns: frozenset[str] = frozenset()

    def agents(self, names: Iterable[str]) -> list[ShowAction]:
        """Show each agent that is elsewhere at the one node which has its latest incarnation."""
        hidden: dict[str, list[str]] = {}
        shown: dict[str, list[str]] = {}
        views = [(node, view.claims) for node, view in self._names.items() if self._peers.shown(node)]
        for name in names:
            best = None
            if name not in self._own.claims:
                found = [(claim.number, node) for node, claims in views if (claim := claims.get(name)) is not None]
                best = max(found)[1] if found else None
            before = self.owners.get(name)
            if best == before:
                continue
            if before is not None:
                hidden.setdefault(before, []).append(name)
                del self.owners[name]
            if best is not None:
                shown.setdefault(best, []).append(name)
                self.owners[name] = best
        actions: list[ShowAction] = [NamesHidden(node, tuple(some)) for node, some in hidden.items()]
        return actions + [NamesShown(node, tuple(some)) for node, some in shown.items()]

    def surroundings(self, node: str) -> list[ShowAction]:
        """Show the roles of a node, and the patterns of all, as far as they have changed."""
        actions: list[ShowAction] = []
        view = self._names.get(node)
        roles = view.around.roles if view is not None and self._peers.shown(node) else ()
        before, now = self.roles.get(node, frozenset()), frozenset(f"{ROLE}{role}" for role in roles)
        if before != now:
            self.roles[node] = now
            if before - now:
                actions.append(NamesHidden(node, tuple(sorted(before - now))))
            if now - before:
                actions.append(NamesShown(node, tuple(sorted(now - before))))
        patterns = frozenset(  # also of nodes that are lost: their agents count as unreachable in receipts
            pattern for view in self._names.values() for some in view.around.groups.values() for pattern in some
        )
        if patterns != self._patterns:
            self._patterns = patterns
            actions.append(PatternsChanged(patterns))
        return actions
