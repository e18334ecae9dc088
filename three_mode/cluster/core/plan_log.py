"""What of a plan has changed since when, and a copy of a plan at a node that stands by for the one that leads."""

from collections import OrderedDict

import msgspec

from three_mode.cluster.core.frames import Count, NodeId, Text
from three_mode.cluster.core.orders import BadOrder, CopyOrder
from three_mode.cluster.core.planned import PlannedAgent, PlannedGroup


class PlanChange(msgspec.Struct, frozen=True, array_like=True):
    """Groups and agents of a plan that are new or have changed, and names of those that are gone."""

    groups: dict[Text, PlannedGroup]
    agents: dict[Text, PlannedAgent]
    gone: tuple[Text, ...] = ()
    graves: dict[NodeId, dict[Text, Count]] = {}
    """All agents that have to be ended at nodes which are away."""


encode_change = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PlanChange).decode


def read_change(raw: bytes) -> PlanChange:
    """Read a change of a plan; BadOrder says what is wrong with it."""
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadOrder(f"no change of a plan: {error}") from None


class PlanLog:
    """Names of groups and agents, each with the version of the plan in which it last changed."""

    def __init__(self) -> None:
        self.version = 0
        self._changed: OrderedDict[str, int] = OrderedDict()
        self._floor = 0  # what changed up to this version is not known any more

    def note(self, *names: str) -> None:
        """Note a change of these."""
        self.version += 1
        for name in names:
            self._changed[name] = self.version
            self._changed.move_to_end(name)

    def since(self, version: int) -> list[str] | None:
        """Return what has changed since a version; None where that is not known."""
        if version < self._floor or not version:
            return None
        found = []
        for name, changed in reversed(self._changed.items()):
            if changed <= version:
                break
            found.append(name)
        return found

    def forget(self, version: int) -> None:
        """Forget what changed up to a version: nobody will ask for it."""
        self._floor = max(self._floor, version)
        while self._changed and next(iter(self._changed.values())) <= version:
            self._changed.popitem(last=False)


class PlanCopy:
    """Copy of another node's plan, as it was told."""

    def __init__(self) -> None:
        self.name, self.number, self.version, self.term = "", 0, 0, 0
        self.took: tuple[str, ...] = ()
        self.groups: dict[str, PlannedGroup] = {}
        self.agents: dict[str, PlannedAgent] = {}
        self.graves: dict[str, dict[str, int]] = {}

    def take(self, order: CopyOrder) -> bool:
        """Take a change; return False where it does not follow what is known. BadOrder where it is none."""
        if order.number <= self.number or (order.base and order.base != self.version):
            return False
        change = read_change(order.change)
        if not order.base:
            self.groups, self.agents = {}, {}
        for name in change.gone:
            self.groups.pop(name, None)
            self.agents.pop(name, None)
        self.groups.update(change.groups)
        self.agents.update(change.agents)
        self.graves = change.graves
        self.name, self.number, self.version, self.term = order.name, order.number, order.version, order.term
        self.took = order.took
        return True
