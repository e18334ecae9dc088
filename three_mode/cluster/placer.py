"""Placer: gives the orders of this node's plan, does those that are for this node, and tells what comes of them."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from three_mode.agents.supervisor.events import AgentGivenUp, AgentsMoved, AgentsStranded, NodeRefused
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.importing import ClassPath
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.cluster.clearing import Clearing
from three_mode.cluster.core.calling import DEADLINE, PEER_LOST
from three_mode.cluster.core.frames import Offer
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.orders import (
    AgentsOrder,
    Answer,
    EndedOrder,
    Failure,
    Order,
    Placed,
    PlaceOrder,
    Verb,
    encode_order,
)
from three_mode.cluster.core.placing import (
    CannotRun,
    GoneForGood,
    Moved,
    OrderDone,
    OrderHere,
    Placing,
    PlacingEvent,
    Stranded,
    names_of,
)
from three_mode.cluster.core.planned import PlacingNode
from three_mode.cluster.home import NodeHome
from three_mode.cluster.order_taker import OrderTaker, policy_of
from three_mode.errors import DeadlineExceeded, PeerLost, ThreeModeError
from three_mode.messages import decode_error

log = logging.getLogger("three_mode.cluster")
_STOP_WITHIN = 10.0


class Placer:
    """The orders that one node gives. `flush` carries out actions, and `taker` takes the answers to reports of agents
    that have ended here."""

    def __init__(
        self,
        core: ClusterNode,
        placing: Placing,
        home: NodeHome,
        offer: Offer,
        clearing: Clearing,
        flush: Callable[[], None],
        taker: OrderTaker,
    ) -> None:
        self.core, self.placing, self.home, self._offer = core, placing, home, offer
        self._clearing, self.flush, self._taker = clearing, flush, taker
        self.copy: Callable[[], None] = lambda: None
        """Sends what has changed in the plan to the nodes that stand by."""
        self.kinds: dict[str, tuple[type, Restart]] = {}
        """Group -> its class in this process, and its policy."""
        self.refusals: dict[str, dict[str, str]] = {}
        """Group -> node -> why it cannot run the group."""
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what is being done."""
        for future in self._waiting.values():
            if not future.done():
                future.set_result(Failure("failed", "this node leaves its cluster"))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def here(self) -> PlacingNode:
        """This node, as one that agents may be placed on."""
        return PlacingNode(self.core.id, self.core.name, self._offer, len(self.core.own.claims))

    def name_of(self, node: str) -> str:
        """Return the name of a node, which may be this one."""
        return self.core.name if node == self.core.id else self.core.peers.name(node)

    # orders -----------------------------------------------------------------------------------------------------------
    def give(self, node: str, order: Order, within: float) -> asyncio.Future[Answer]:
        """Give an order; the future has its answer, or the exception that it raised here."""
        future = self._waiting[order.number] = asyncio.get_running_loop().create_future()
        self.placing.give(time.monotonic(), node, order, within)
        self.happened()
        self.copy()
        self.flush()
        return future

    def tick(self, now: float, hears_itself: bool) -> None:
        """Give what orders are due, and drop agents of this node that have ended."""
        plan, me = self.placing.plan, self.core.id
        mine = [name for name, one in plan.agents.items() if one.node == me and not one.order and not one.spawning]
        ended = [name for name in mine if not self.home.comes_back(name)]
        if ended:
            self.placing.remove(ended, me)
        self.placing.tick(now, self.here, hears_itself)
        self.happened()

    def happened(self) -> None:
        """Take what has come of orders."""
        while events := self.placing.take():
            for event in events:
                self._take(event)

    def _take(self, event: PlacingEvent) -> None:
        happened = self.home.happened
        match event:
            case OrderHere(order, within):
                task = asyncio.get_running_loop().create_task(self._do(order, time.monotonic() + within))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case OrderDone(order, _, answer):
                future = self._waiting.pop(order.number, None)
                if future is not None and not future.done():
                    future.set_result(answer)
                if isinstance(order, EndedOrder):
                    self._taker.reported(order, answer)
            case Moved(agents, origin, node):
                happened(AgentsMoved(agents, origin, self.name_of(node)))
            case Stranded(group, agents):
                path = self.placing.plan.groups[group].order
                happened(AgentsStranded(agents, f"none is there that may run {path.module}.{path.kind}"))
            case CannotRun(group, node, why):
                self.refusals.setdefault(group, {})[node] = why
                happened(NodeRefused(self.name_of(node), group, why))
                log.warning("%s", why)
            case GoneForGood(agents, name):
                for agent in agents:
                    happened(AgentGivenUp(agent, f"node {name} is gone", True))

    async def _do(self, order: PlaceOrder, ends: float) -> None:
        """Do an order of this node's own plan."""
        answer: Answer = Failure("failed", "it was cancelled")
        names = names_of(order)
        try:
            known = self.kinds.get(order.group)
            kind, restart = known or (await self._taker.class_of(order), policy_of(order))
            if isinstance(kind, Placed):
                answer = encode_order(kind)
                return
            async with self._taker.held(order.group):
                await self._make(order, names, kind, restart, ends)
            answer = encode_order(Placed())
        except Exception as error:  # noqa: BLE001  # it is raised where the order was given
            answer = Failure("failed", str(error))
            future = self._waiting.pop(order.number, None)
            if future is not None and not future.done():
                future.set_exception(error)
        finally:
            self.core.release([name for name in names if not self.home.comes_back(name)])
            self.placing.done_here(time.monotonic(), order.number, answer)
            self.happened()
            self.flush()

    async def _make(self, order: PlaceOrder, names: list[str], kind: type, restart: Restart, ends: float) -> None:
        await self._clearing.clear(names, order.number, order.back, ends)
        wanted = [name for name in names if name in self.placing.plan.agents]
        if order.back:  # one whose order was that of an earlier leader may have begun
            wanted = [name for name in wanted if not self.home.comes_back(name)]
        spawn = spawn_order(order, [int(name.rpartition("/")[2]) for name in wanted])
        if order.back:
            await self.home.take_over(kind, spawn, restart, order.own_host)
        else:
            await self.home.place(kind, spawn, restart, max(0.001, ends - time.monotonic()), order.own_host)
        unwanted = [name for name in names if name not in self.placing.plan.agents and self.home.comes_back(name)]
        if unwanted and self.core.leads.own.term:  # who ordered them waits no longer, and found nothing to stop yet
            await self.home.order("stop", unwanted, _STOP_WITHIN)

    # agents that are elsewhere ----------------------------------------------------------------------------------------
    async def about(self, verb: Verb, names: Sequence[str], within: float, forget: bool = False) -> list[str]:
        """Stop, restart, pause or resume agents at other nodes; return those that are not elsewhere.

        `forget`: whether what those that are stopped kept is removed.
        """
        here, away, by_node = list[str](), list[str](), dict[str, list[str]]()
        for name in names:
            agent = self.placing.plan.agents.get(name)
            node = self.core.owner(name) or (agent.node if agent is not None else self.core.id)
            if self.home.comes_back(name) or (node == self.core.id and agent is None):
                here.append(name)
            elif self.core.peers.reachable(node):
                by_node.setdefault(node, []).append(name)
            else:
                away.append(name)
        if away and verb != "stop":
            raise PeerLost(f"{away[0]} is not there just now: its node is lost", hint="try again", agent=away[0])
        self.placing.remove(away)
        if away and forget:
            await self.home.forget(away)
        orders = [AgentsOrder(self.core.order_number(), verb, tuple(some), forget=forget) for some in by_node.values()]
        futures = [self.give(node, order, within) for node, order in zip(by_node, orders, strict=True)]
        problem: ThreeModeError | None = None
        for node, order, answer in zip(by_node, orders, await asyncio.gather(*futures), strict=True):
            if isinstance(answer, Failure):
                problem = problem or error_of(answer, self.name_of(node))
            elif verb == "stop":
                self.placing.remove(order.names, node)
        if problem is not None:
            raise problem
        return here

    def stopped_here(self, names: Sequence[str]) -> None:
        """Take agents of this node that were stopped out of the plan."""
        self.placing.remove(names, self.core.id)

    async def end_all(self, within: float) -> None:
        """Stop the agents of the plan that are at other nodes: their home ends in order."""
        by_node: dict[str, list[str]] = {}
        for name, agent in self.placing.plan.agents.items():
            if agent.node != self.core.id and self.core.peers.reachable(agent.node):
                by_node.setdefault(agent.node, []).append(name)
        self.placing.plan.remove([name for names in by_node.values() for name in names])
        futures = [
            self.give(node, AgentsOrder(self.core.order_number(), "stop", tuple(names)), within)
            for node, names in by_node.items()
        ]
        if futures:
            await asyncio.wait(futures, timeout=within)


def spawn_order(order: PlaceOrder, numbers: Sequence[int]) -> SpawnOrder:
    """Return the order to hosts that an order between nodes makes of some of its agents."""
    path = ClassPath(order.module, order.kind)
    return SpawnOrder(order.group, tuple(numbers), path, order.init, order.roles, order.policy.on_error)


def error_of(failure: Failure, node: str) -> ThreeModeError:
    """Return the error of an order that failed at a node."""
    if failure.code == wire_errors.REMOTE:
        return decode_error(failure.detail)
    if failure.code == PEER_LOST:
        return PeerLost(f"node {node}: {failure.text}")
    if failure.code == DEADLINE:
        return DeadlineExceeded(f"node {node} did not do an order in time", stage="start")
    return ThreeModeError(f"node {node}: {failure.text}")
