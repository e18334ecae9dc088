"""What of other nodes is shown at this one: each agent at one node, and their roles while they can be reached; and the
patterns of all that are known."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from three_mode.cluster.core.actions import NamesHidden, NamesShown, PatternsChanged
from three_mode.cluster.core.claims import Claims
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.peers import Peers
from transports.bus import NameRows

ROLE = "any:"

ShowAction = NamesHidden | NamesShown | PatternsChanged


class ShownNames:
    """The names that are shown, each with its node. `names` are the views of the other nodes."""

    def __init__(self, own: OwnNames, names: Mapping[str, NamesOf], peers: Peers) -> None:
        self._own, self._names, self._peers = own, names, peers
        self.owners: NameRows[str] = NameRows()
        """Agent elsewhere -> the node that is shown to have it."""
        self.roles: dict[str, frozenset[str]] = {}
        """Node -> its roles that are shown."""
        self._patterns: dict[str, frozenset[str]] = {}
        self._listening: Counter[str] = Counter()  # pattern -> how many nodes have it

    def agents(self, names: Iterable[str]) -> list[ShowAction]:
        """Show each agent that is elsewhere at the one node which has its latest incarnation: all are asked."""
        views = [(node, view.claims) for node, view in self._names.items() if self._peers.shown(node)]

        def best(name: str, _: str | None) -> str | None:
            found = [(rank, node) for node, claims in views if (rank := claims.rank(name)) >= 0]
            return max(found)[1] if found else None

        return self._show(names, best)

    def changed(self, node: str, names: Iterable[str]) -> list[ShowAction]:
        """Show agents of which this node alone has said anything new.

        The node at which one is shown is the latest of all: it is held against that one alone, and all nodes are only
        asked where that one gives it up. A node's own claims of a name only grow.
        """
        view, owners = self._names.get(node), self.owners
        claims = view.claims if view is not None and self._peers.shown(node) else Claims()
        given_up = [name for name in names if owners.find(name) == node and name not in claims]

        def best(name: str, before: str | None) -> str | None:
            rank = claims.rank(name)
            if rank < 0 or before == node:
                return before
            there = self._names[before].claims.rank(name) if before is not None else -1
            return max((rank, node), (there, before or ""))[1]

        others = set(given_up)
        actions = self._show([name for name in names if name not in others], best)
        return actions + self.agents(given_up) if given_up else actions

    def _show(self, names: Iterable[str], best: Callable[[str, str | None], str | None]) -> list[ShowAction]:
        hidden: dict[str, list[str]] = {}
        shown: dict[str, list[str]] = {}
        owners, own = self.owners, self._own.claims
        for name in dict.fromkeys(names):
            before = owners.find(name)
            now = best(name, before) if name not in own else None
            if now == before:
                continue
            if before is not None:
                hidden.setdefault(before, []).append(name)
                owners.pop(name)
            if now is not None:
                shown.setdefault(now, []).append(name)
        for node, some in shown.items():
            owners.put(some, node)
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
        groups = view.around.groups.values() if view is not None else ()
        self._listen(node, frozenset(pattern for some in groups for pattern in some), actions)
        return actions

    def _listen(self, node: str, patterns: frozenset[str], actions: list[ShowAction]) -> None:
        """Note the patterns of a node, also of one that is lost: its agents count as unreachable in receipts."""
        before = self._patterns.get(node, frozenset())
        if patterns == before:
            return
        self._patterns[node] = patterns
        if not patterns:
            del self._patterns[node]
        nodes, known = self._listening, len(self._listening)
        nodes.update(patterns - before)
        added = len(nodes) > known
        nodes.subtract(before - patterns)
        gone = [pattern for pattern in before - patterns if not nodes[pattern]]
        for pattern in gone:
            del nodes[pattern]
        if added or gone:
            actions.append(PatternsChanged(frozenset(nodes)))
