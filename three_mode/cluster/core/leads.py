"""Leads: what the nodes of a cluster say of who leads and who stands by. All see the same winner once they hear each
other: the later term, and of one term the greater id."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from three_mode.cluster.core.frames import Lead
from three_mode.cluster.core.names import NamesOf
from three_mode.cluster.core.peers import Peers

_REMEMBERED = 1024  # nodes of which it is remembered what they took over


class Leads:
    """The parts in leading of this node, `me`, and of the others. `names` are the views of the others."""

    def __init__(self, me: str, name: str, names: Mapping[str, NamesOf], peers: Peers) -> None:
        self._me, self._name, self._names, self._peers = me, name, names, peers
        self.own = Lead()
        self._took: OrderedDict[str, tuple[str, ...]] = (
            OrderedDict()
        )  # node, also one that is gone -> what it took over

    def heard(self, node: str, took: tuple[str, ...]) -> None:
        """Note from whom a node, which may be this one, has taken over."""
        if took:
            self._took[node] = took
            self._took.move_to_end(node)
            if len(self._took) > _REMEMBERED:
                self._took.popitem(last=False)

    def _others(self) -> Iterator[tuple[str, Lead]]:
        """Give the parts of the nodes that can be reached."""
        for node, view in self._names.items():
            if self._peers.shown(node):
                yield node, view.around.lead

    def leader_of(self, node: str) -> str:
        """Return who leads the agents that a node led, or took over: itself, or who took over from it; empty where no
        node that can be reached does."""
        parts, led = [(self._me, self.own), *self._others()], {node, *self._took.get(node, ())}
        found = [(lead.term, id_) for id_, lead in parts if lead.term and not led.isdisjoint((id_, *lead.took))]
        return max(found)[1] if found else ""

    def rival(self) -> str:
        """Return the node that leads agents of this one by a later lead; empty: none, this one goes on."""
        own, mine = self.own, {self._me, *self.own.took}
        later = [
            (lead.term, id_)
            for id_, lead in self._others()
            if (lead.term, id_) > (own.term, self._me) and lead.term and not mine.isdisjoint((id_, *lead.took))
        ]
        return max(later)[1] if later and own.term else ""

    def next_term(self, least: int) -> int:
        """Return a term above all that are known, and above `least`."""
        return 1 + max(least, self.own.term, *(view.around.lead.term for view in self._names.values()), 0)

    def leaders(self) -> list[str]:
        """Return the other nodes that lead."""
        return [node for node, lead in self._others() if lead.term]

    def standbys(self, of: str = "") -> list[str]:
        """Return the other nodes that stand by, the first to take over first; those alone that follow a node, if one
        is given."""
        found = [node for node, lead in self._others() if lead.stands_by and (not of or of in dict(lead.follows))]
        return sorted(found, key=lambda node: (self._peers.name(node), node))

    def is_next(self, of: str, waits: bool) -> bool:
        """Return whether this node takes over from one that is lost: before all others that follow it, by its copy,
        which is the latest, or else by its name. `waits`: whether others may say that it is lost for them too."""
        mine = -dict(self.own.follows).get(of, 0), self._name, self._me
        for node in self.standbys(of):
            version = dict(self._names[node].around.lead.follows)[of]
            if (waits and not version) or (version and (-version, self._peers.name(node), node) < mine):
                return False
        return True
