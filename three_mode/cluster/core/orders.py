"""Orders of one node to another: values in msgpack, which are asked of the node itself, and a book of those that came.

An order has a number, above those of all claims that its sender has seen: the agents that it begins outrank the ones
before. An order that comes again under its number is not done again, and gets the answer of the first.
"""

from collections import OrderedDict
from typing import Any, Literal

import msgspec

from three_mode.cluster.core.frames import Count, NodeId, Text
from three_mode.errors import ThreeModeError

ORDER = "order"  # topic of an order
NODES, ANSWERS = 1024, 1024  # nodes whose orders are remembered, and orders of each

Figure = float
Verb = Literal["stop", "restart", "pause", "resume"]


class RestartRule(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A restart policy on its way, as `Restart` has it."""

    strategy: Literal["permanent", "transient", "temporary"] = "transient"
    limit: Figure = 5.0
    within: Figure = 30.0
    wait: Figure = 0.0
    wait_at_most: Figure = 5.0
    on_error: bool = False


class PlaceOrder(msgspec.Struct, frozen=True, array_like=True, tag="place", gc=False):
    """Make the agents `group/number` of a class."""

    number: Count
    group: Text
    numbers: tuple[Count, ...]
    module: Text
    kind: Text
    """Name of the class in its module."""
    init: bytes
    roles: tuple[Text, ...] = ()
    policy: RestartRule = RestartRule()
    own_host: bool = False
    """Whether they get a host of their own, as models do."""
    back: bool = False
    """Whether they come back from a node that is lost: each by its policy, and not all or none."""
    took: tuple[NodeId, ...] = ()
    """Nodes that led before, which the one that orders has taken over from."""


class AgentsOrder(msgspec.Struct, frozen=True, array_like=True, tag="agents", gc=False):
    """Stop, restart, pause or resume agents that were placed by order."""

    number: Count
    verb: Verb
    names: tuple[Text, ...]
    up_to: Count = 0
    """Those alone that were placed by orders up to this number; 0: any."""
    forget: bool | None = None
    """Whether what those that are stopped kept is removed; None: where no other node has it."""


class EndedOrder(msgspec.Struct, frozen=True, array_like=True, tag="ended", gc=False):
    """To the node that placed them: these agents have ended for good, or wait to be placed again."""

    number: Count
    names: tuple[Text, ...]
    up_to: Count
    """Number of the order that had placed them."""
    reason: Text
    failed: bool = False
    """Whether they did not end themselves."""
    again: bool = False
    """Whether they are to be placed again."""


class CopyOrder(msgspec.Struct, frozen=True, array_like=True, tag="copy", gc=False):
    """To one that stands by: what of this node's plan has changed since version `base`; 0: all of it."""

    number: Count
    name: Text
    """Name of the node that leads."""
    term: Count
    took: tuple[NodeId, ...]
    base: Count
    version: Count
    change: bytes
    """A PlanChange."""
    final: bool = False
    """Whether that node leads no longer: to the one that leads in its place."""


class LeadOrder(msgspec.Struct, frozen=True, array_like=True, tag="lead", gc=False):
    """To one that stands by: lead in place of this node, whose plan you have in this version."""

    number: Count
    version: Count


Order = PlaceOrder | AgentsOrder | EndedOrder | CopyOrder | LeadOrder


class Placed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Answer to a PlaceOrder that did not fail."""

    cannot: str = ""
    """Why this node can run no agent of the class; empty: the agents are there."""
    fix: str = ""


class BadOrder(ThreeModeError):
    """Bytes from another node are no order."""


encode_order = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Order).decode
_placed = msgspec.msgpack.Decoder(Placed).decode


def read_order(raw: bytes) -> Order:
    """Read an order; BadOrder says what is wrong with it."""
    try:
        found: Order = _decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadOrder(f"no order of a cluster: {error}") from None
    return found


def read_placed(raw: bytes) -> Placed:
    """Read the answer to a PlaceOrder; BadOrder where it is none."""
    try:
        return _placed(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadOrder(f"no answer to an order of a cluster: {error}") from None


class Failure(msgspec.Struct, frozen=True, gc=False):
    """An order has failed, with an error that travels."""

    code: str
    text: str
    detail: Any = None


Answer = bytes | Failure


class OrderBook:
    """Orders of all other nodes: the calls that wait for the answer of each, or the answer."""

    def __init__(self) -> None:
        self._orders: OrderedDict[str, OrderedDict[int, list[int] | Answer]] = OrderedDict()
        self._forgotten: dict[str, int] = {}  # node -> highest number of an order that is not remembered

    def take(self, node: str, number: int, call: int) -> Literal["new", "repeated", "forgotten"]:
        """Take an order; `call`: that asks for it. Only a new one is to be done."""
        orders = self._orders.setdefault(node, OrderedDict())
        self._orders.move_to_end(node)
        if number in orders:
            waiting = orders[number]
            if isinstance(waiting, list):
                waiting.append(call)
            return "repeated"
        if number <= self._forgotten.get(node, -1):
            return "forgotten"
        orders[number] = [call]
        if len(orders) > ANSWERS:
            old = next((old for old, kept in orders.items() if not isinstance(kept, list)), None)
            if old is not None:
                del orders[old]
                self._forgotten[node] = max(old, self._forgotten.get(node, -1))
        while len(self._orders) > NODES:
            gone, _ = self._orders.popitem(last=False)
            self._forgotten.pop(gone, None)
        return "new"

    def answer(self, node: str, number: int) -> Answer | None:
        """Return the answer to an order; None while it is being done."""
        orders = self._orders.get(node)
        kept = orders.get(number) if orders is not None else None
        return kept if not isinstance(kept, list) else None

    def done(self, node: str, number: int, answer: Answer) -> list[int]:
        """Note the answer to an order; return the calls that wait for it."""
        orders = self._orders.get(node)
        waiting = orders.get(number) if orders is not None else None
        if orders is None or not isinstance(waiting, list):
            return []
        orders[number] = answer
        return waiting
