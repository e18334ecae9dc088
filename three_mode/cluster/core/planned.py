"""Planned: what a plan has of nodes, groups and agents. Groups and agents travel in copies of the plan."""

from collections.abc import Sequence

import msgspec

from three_mode.cluster.core.frames import Count, NodeId, Offer, Text
from three_mode.cluster.core.orders import PlaceOrder


class PlacingNode(msgspec.Struct, frozen=True):
    """A node that can be asked to run agents: another one, or this one."""

    id: str
    name: str
    offer: Offer
    agents: int
    """Number of its agents."""


class Move(msgspec.Struct, frozen=True):
    """Give this order to a node: these agents of a group are waiting."""

    node: str
    group: str
    numbers: tuple[int, ...]
    origin: str
    """Name of the node that they were at."""


class PlannedGroup(msgspec.Struct, array_like=True):
    """A group that is placed by order. `order` is what each node gets, besides the numbers."""

    order: PlaceOrder
    only: NodeId = ""
    """Node whose process alone has the class; empty: none."""
    next_number: Count = 0
    size: Count = 0
    """Number of its agents."""
    barred: set[NodeId] = msgspec.field(default_factory=set)
    """Nodes that have said that they cannot run it."""
    failures: Count = 0
    not_before: float = 0.0
    stranded: bool = False
    """Whether agents wait for which there is no node."""
    own: bool = True
    """Whether this node's own program has spawned it, and not one whose plan was taken over."""

    def may_be_on(self, node: PlacingNode, on: Sequence[str], me: str) -> bool:
        """Return whether agents of the group may be placed on a node; `on`: names or labels of nodes, or none."""
        if not is_one_of(node, on) or node.id in self.barred or (self.only and node.id != self.only):
            return False
        return (node.id == me and self.own) or allows(node.offer, self.order.module)


class PlannedAgent(msgspec.Struct, array_like=True, gc=False):
    """One agent."""

    group: Text
    index: Count
    """Its number in the group."""
    on: tuple[Text, ...] = ()
    """Names or labels of the nodes that may run it; none: all that may run its class."""
    node: NodeId = ""
    """Node that it is at, or ordered from; empty: it is waiting."""
    order: Count = 0
    """Number of the order that is being done; 0: none."""
    spawning: bool = True
    """Whether its first order is given by a spawn, which places it again itself."""
    origin: Text = ""
    """Name of the lost node that it was at."""
    last: Count = 0
    """Number of the order by which it is at its node; 0: that node has shown it by itself."""
    haunts: frozenset[NodeId] = frozenset()
    """Nodes that were lost with it, and may still have it when they are back."""


def is_one_of(node: PlacingNode, on: Sequence[str]) -> bool:
    """Return whether a node has one of these names or labels; all nodes are, where there are none."""
    return not on or node.name in on or not set(on).isdisjoint(node.offer.labels)


def allows(offer: Offer, module: str) -> bool:
    """Return whether a node starts classes of a module by order."""
    return any(module == path or module.startswith(f"{path}.") for path in offer.allow)
