"""Peers: the other nodes, from joined over suspected to lost, back, and left; by when they were last heard.

    unknown --heard--> here --silent--> suspected --silent--> lost --remembered--> unknown
                        ^------heard-------'                    |
                        ^----------------heard: back------------'          here, suspected, lost --leave--> left

Any packet is a sign of life; a node has joined once a heartbeat has said its name. A node that left is not believed
again: its id is that of one start of one process.
"""

from collections.abc import Iterator

from three_mode.cluster.core.actions import PeerChanged
from three_mode.cluster.core.timing import NodeTiming

HERE, SUSPECTED, LOST, LEFT = range(4)


class NodePeer:
    """Another node, as far as this one knows."""

    __slots__ = ("heard", "id", "kind", "name", "named", "state")

    def __init__(self, id: str, heard: float) -> None:  # noqa: A002
        self.id, self.name, self.heard, self.state = id, id, heard, HERE
        self.named, self.kind = False, "node"


class Peers:
    """All other nodes."""

    def __init__(self, timing: NodeTiming) -> None:
        self._timing = timing
        self._all: dict[str, NodePeer] = {}

    def hear(self, now: float, node: str, name: str = "", kind: str = "node") -> PeerChanged | None:
        """Take a sign of life; return the change that it makes."""
        peer = self._all.get(node)
        if peer is None:
            peer = self._all[node] = NodePeer(node, now)
        if peer.state == LEFT:
            return None
        silent, peer.heard = now - peer.heard, now
        if name:
            joins, peer.named = not peer.named, True
            peer.name, peer.kind = name, kind
            if joins:
                peer.state = HERE
                return PeerChanged(node, name, "joined")
        if peer.state == HERE:
            return None
        state, peer.state = peer.state, HERE
        return PeerChanged(node, peer.name, "steady" if state == SUSPECTED else "back", silent)

    def leave(self, now: float, node: str) -> PeerChanged | None:
        """Note that a node leaves in order."""
        peer = self._all.get(node)
        if peer is None or peer.state == LEFT:
            return None
        silent, peer.heard, peer.state = now - peer.heard, now, LEFT
        return PeerChanged(node, peer.name, "left", silent)

    def tick(self, now: float) -> Iterator[PeerChanged]:
        """Return the changes that silence makes, and forget those that were lost or left long ago."""
        timing = self._timing
        for peer in list(self._all.values()):
            silent = now - peer.heard
            if peer.state == HERE and now >= peer.heard + timing.suspected_after:
                peer.state = SUSPECTED
                yield PeerChanged(peer.id, peer.name, "suspected", silent)
            if peer.state == SUSPECTED and now >= peer.heard + timing.lost_after:
                peer.state = LOST
                yield PeerChanged(peer.id, peer.name, "lost", silent)
            elif peer.state in (LOST, LEFT) and silent >= timing.lost_after + timing.remembered:
                del self._all[peer.id]
                yield PeerChanged(peer.id, peer.name, "forgotten", silent)

    @property
    def next_silence(self) -> float:
        """When silence would suspect or lose the first of them; infinity where none can be."""
        after = {HERE: self._timing.suspected_after, SUSPECTED: self._timing.lost_after}
        return min(
            (peer.heard + after[peer.state] for peer in self._all.values() if peer.state in after), default=float("inf")
        )

    def forgive(self, now: float, late: float) -> None:
        """Take off silence for which this node itself was not awake: packets of that time have not been read yet."""
        for peer in self._all.values():
            peer.heard = min(now, peer.heard + late)

    def reachable(self, node: str) -> bool:
        """Return whether a node can be asked: it is here, or only suspected."""
        peer = self._all.get(node)
        return peer is not None and peer.state <= SUSPECTED

    def shown(self, node: str) -> bool:
        """Return whether the agents of a node can be shown: it can be asked, and its name is known."""
        peer = self._all.get(node)
        return peer is not None and peer.state <= SUSPECTED and peer.named

    def knows(self, node: str) -> bool:
        """Return whether a node is known, and has not left."""
        peer = self._all.get(node)
        return peer is not None and peer.state != LEFT

    def knows_as_left(self, node: str) -> bool:
        """Return whether a node has left: what still comes from it is late."""
        peer = self._all.get(node)
        return peer is not None and peer.state == LEFT

    def all(self) -> list[NodePeer]:
        """Return all nodes that are known by name and have not left."""
        return [peer for peer in self._all.values() if peer.state != LEFT and peer.named]

    def name(self, node: str) -> str:
        """Return the name of a node; its id where no name is known."""
        peer = self._all.get(node)
        return peer.name if peer is not None else node
