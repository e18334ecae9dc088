"""Orders of other nodes, done here: agents of classes below the import paths that this node allows, and no others."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

from three_mode.agents.agent import Agent
from three_mode.agents.supervisor.events import AgentGivenUp, TookOver
from three_mode.agents.supervisor.restart import Restart
from three_mode.agents.whom import check_name
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire import importing
from three_mode.agents.wire.importing import ClassPath
from three_mode.agents.wire.orders import SpawnOrder
from three_mode.cluster.alone import Alone
from three_mode.cluster.clearing import Clearing
from three_mode.cluster.core.frames import AskFrame, Offer
from three_mode.cluster.core.leading import LED
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.orders import (
    AgentsOrder,
    Answer,
    BadOrder,
    CopyOrder,
    EndedOrder,
    Failure,
    LeadOrder,
    Order,
    OrderBook,
    Placed,
    PlaceOrder,
    encode_order,
    read_order,
)
from three_mode.cluster.core.placing import Placing, names_of
from three_mode.cluster.core.planned import allows
from three_mode.cluster.home import NodeHome
from three_mode.errors import ConfigurationError, DeadlineExceeded, NoSuchAgent, PeerLost, ThreeModeError

log = logging.getLogger("three_mode.cluster")
_REPORT_WITHIN = 5.0
_STOP_WITHIN = 10.0
_REASON = 1000  # characters of a reason
_OWED = 4096  # ends that homes which are away have to be told of; later ones before earlier ones
_DONE = encode_order(None)
_NAMES_AT_ONCE = 1000  # agents of one report


class Owed(NamedTuple):
    """What a node has to be told of agents that it placed here."""

    node: str
    order: int
    """Number of the order that had placed them."""
    reason: str
    failed: bool
    again: bool


class OrderTaker:
    """The orders that come to one node. `offer` is what it allows, `flush` carries out the core's actions."""

    def __init__(
        self,
        core: ClusterNode,
        placing: Placing,
        home: NodeHome,
        offer: Offer,
        alone: str,
        clearing: Clearing,
        flush: Callable[[], None],
    ) -> None:
        self._core, self._placing, self._home, self._offer = core, placing, home, offer
        self._clearing, self._flush = clearing, flush
        self.placed: dict[str, tuple[str, int]] = {}
        """Agent here that was placed by order -> the node that placed it, and the number of its order."""
        self.alone = Alone(alone, home, self.placed, self.gone, self._may_be_taken_over, core.timing.lost_after)
        self.of_leads: Callable[[str, CopyOrder | LeadOrder], Answer]
        """Takes orders about who leads."""
        self.copied: Callable[[], Awaitable[None]]
        """Waits until the nodes that stand by have the plan as it is."""
        self.open = asyncio.Event()
        """Set once the hosts of this node run: orders wait for them."""
        self._making: set[str] = set()
        self._owed: dict[Owed, set[str]] = {}  # what nodes have to be told -> of these agents
        self._given_up: dict[str, AgentGivenUp] = {}
        self._reports: dict[int, Owed] = {}
        self._book = OrderBook()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[None]] = set()

    def has_group(self, group: str) -> bool:
        """Return whether another node has placed agents of a group here."""
        return any(name.rpartition("/")[0] == group for name in self.placed)

    async def close(self) -> None:
        """Do no more orders."""
        self.alone.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # orders -----------------------------------------------------------------------------------------------------------
    def begin(self, node: str, frame: AskFrame) -> None:
        """Take an order of another node. One that comes again gets the answer of the first."""
        try:
            order = read_order(frame.payload)
        except BadOrder as error:
            self._core.fail(time.monotonic(), node, frame.id, *wire_errors.to_wire(error))
            return
        if isinstance(order, PlaceOrder):
            self._core.leads.heard(node, order.took)
        leader = self._core.leads.leader_of(node)
        if isinstance(order, PlaceOrder | AgentsOrder) and leader not in ("", node):
            text = f"node {self._core.name} takes no orders of it: node {self._name_of(leader)} leads in its place"
            self._core.fail(time.monotonic(), node, frame.id, LED, text)
            return
        match self._book.take(node, order.number, frame.id):
            case "new":
                task = asyncio.get_running_loop().create_task(self._do(node, order, frame.within))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "repeated":
                answer = self._book.answer(node, order.number)
                if answer is not None:
                    self._answer(node, frame.id, answer)
            case "forgotten":
                self._answer(node, frame.id, Failure("too_late", f"order {order.number} is too old"))

    def _answer(self, node: str, call: int, answer: Answer) -> None:
        if isinstance(answer, bytes):
            self._core.answer(time.monotonic(), node, call, answer)
        else:
            self._core.fail(time.monotonic(), node, call, answer.code, answer.text, answer.detail)

    async def _do(self, node: str, order: Order, within: float) -> None:
        answer: Answer = Failure("failed", "this node leaves its cluster")
        try:
            answer = await self._carry_out(node, order, within)
        except ThreeModeError as error:
            answer = Failure(*wire_errors.to_wire(error))
        except TimeoutError:
            late = DeadlineExceeded(f"node {self._core.name} did not do an order in time", stage="start")
            answer = Failure(*wire_errors.to_wire(late))
        except Exception as error:  # any error goes to the node that gave the order
            log.exception("an order of node %s failed", self._core.peers.name(node))
            answer = Failure(*wire_errors.to_wire(wire_errors.of_handler(error, f"node {self._core.name}", "order")))
        finally:
            for call in self._book.done(node, order.number, answer):
                self._answer(node, call, answer)
            self._flush()

    async def _carry_out(self, node: str, order: Order, within: float) -> Answer:
        if isinstance(order, CopyOrder | LeadOrder):
            return self.of_leads(node, order)
        if isinstance(order, EndedOrder):
            for name in self._placing.ended(node, order.names, order.again, order.up_to):
                if not order.again:
                    self._home.happened(AgentGivenUp(name, order.reason, order.failed))
            await self.copied()
            return _DONE
        groups = {order.group} if isinstance(order, PlaceOrder) else {one.rpartition("/")[0] for one in order.names}
        begun = time.monotonic()
        async with AsyncExitStack() as held:
            async with asyncio.timeout(within):
                await self.open.wait()
                for group in sorted(groups):
                    await held.enter_async_context(self.held(group))
            left = within - (time.monotonic() - begun)
            if isinstance(order, PlaceOrder):
                return encode_order(await self._place(node, order, left))
            await self._about_agents(order, left)
        return _DONE

    def held(self, group: str) -> asyncio.Lock:
        """Return the lock of a group: one order about it is carried out at a time."""
        return self._locks.setdefault(group, asyncio.Lock())

    # who leads them ---------------------------------------------------------------------------------------------------
    def _name_of(self, node: str) -> str:
        return self._core.name if node == self._core.id else self._core.peers.name(node)

    def _may_be_taken_over(self, node: str) -> bool:
        """Return whether a node stands by that has a copy of the plan of a node that is lost."""
        leads = self._core.leads
        return node in dict(leads.own.follows) or bool(leads.standbys(node))

    def look_who_leads(self) -> None:
        """Note which nodes lead the agents here in the place of those that placed them."""
        for node in {home for home, _ in self.placed.values()}.union(owed.node for owed in self._owed):
            leader = self._core.leads.leader_of(node)
            if leader and leader != node:
                self._is_led_by(node, leader)

    def _is_led_by(self, node: str, leader: str) -> None:
        names = [name for name, (home, _) in self.placed.items() if home == node]
        if leader == self._core.id:
            for name in names:  # they are as those that it places here itself
                del self.placed[name]
        else:
            self.placed.update({name: (leader, self.placed[name][1]) for name in names})
            if names:
                self._home.happened(TookOver(self._name_of(leader), self._core.peers.name(node), len(names)))
        for owed in [owed for owed in self._owed if owed.node == node]:
            gone = self._owed.pop(owed)
            if leader == self._core.id:
                self._placing.ended(leader, gone, owed.again, owed.order)
            else:
                self._owed.setdefault(owed._replace(node=leader), set()).update(gone)
        self.alone.led_by(node, leader)

    def adopt(self, leader: str, here: Mapping[str, int]) -> None:
        """Take agents that this node had placed here itself as if the one that leads in its place had done it."""
        self.placed.update({name: (leader, number) for name, number in here.items()})

    # agents that are placed here --------------------------------------------------------------------------------------
    async def _place(self, node: str, order: PlaceOrder, within: float) -> Placed:
        ends = time.monotonic() + within
        for name in (order.group, *order.roles):
            check_name(name)
        if not allows(self._offer, order.module):
            return self._not_allowed(order.module)
        names = names_of(order)
        own = self._home.has_group(order.group) and not self.has_group(order.group)
        if own or any(self._home.comes_back(name) and name not in self.placed for name in names):
            raise ConfigurationError(
                f"node {self._core.name} has a group {order.group!r} of its own", hint="choose another name="
            )
        kind = await self.class_of(order)
        if isinstance(kind, Placed):
            return kind
        if node != self._core.id and not self._core.peers.reachable(node):  # importing may take long
            raise PeerLost(f"node {self._core.peers.name(node)}, whose order this was, is lost")
        new = [name for name in names if not self._home.comes_back(name)]
        before = {name: self.placed[name] for name in names if name in self.placed}
        self.placed.update(dict.fromkeys(names, (node, order.number)))
        self._making.update(new)
        try:
            if new:
                numbers = tuple(int(name.rpartition("/")[2]) for name in new)
                spawn = SpawnOrder(
                    order.group,
                    numbers,
                    ClassPath(order.module, order.kind),
                    order.init,
                    order.roles,
                    order.policy.on_error,
                )
                await self._clearing.clear(new, order.number, order.back, ends)
                if order.back:
                    await self._home.take_over(kind, spawn, policy_of(order), order.own_host)
                else:
                    left = max(0.001, ends - time.monotonic())
                    await self._home.place(kind, spawn, policy_of(order), left, order.own_host)
        except BaseException:
            failed = [name for name in new if not self._home.comes_back(name)]
            for name in failed:
                self.placed.pop(name, None)
            self.placed.update({name: place for name, place in before.items() if name not in failed})
            self._core.release(failed)
            raise
        finally:
            self._making.difference_update(new)
        late = [name for name in new if name not in self.placed]
        if late:  # their home was lost while they were made, and they are not to go on without it
            await self._home.order("stop", late, _STOP_WITHIN)
        self.alone.made(node, [name for name in new if name in self.placed])
        return Placed()

    async def class_of(self, order: PlaceOrder) -> type[Agent] | Placed:
        """Import the class of an order that is not this node's own, in a thread: it may take long; return why that
        cannot be."""
        try:
            kind = await asyncio.to_thread(importing.load, ClassPath(order.module, order.kind))
        except Exception as error:  # noqa: BLE001  # whatever importing raises goes to the node that asks
            text = error.message if isinstance(error, ThreeModeError) else f"{type(error).__name__}: {error}"
            return Placed(
                f"node {self._core.name} cannot import {order.module}.{order.kind}: {text}",
                f"install the code of {order.module} on that machine, or start its node where it can be imported",
            )
        if not issubclass(kind, Agent):
            return Placed(f"node {self._core.name}: {order.module}.{order.kind} is no Agent", "spawn a class of agents")
        if not allows(self._offer, kind.__module__):
            return self._not_allowed(kind.__module__)
        return kind

    def _not_allowed(self, module: str) -> Placed:
        allowed = ", ".join(self._offer.allow) or "none"
        return Placed(
            f"node {self._core.name} allows no class of {module}; the import paths that it allows: {allowed}",
            f"three-mode node --import {module}, or Cluster(..., allow=({module!r},))",
        )

    async def _about_agents(self, order: AgentsOrder, within: float) -> None:
        """Stop, restart, pause or resume agents that were placed here."""
        names = list(order.names)
        if order.up_to:  # it ends what is left of earlier orders
            names = [one for one in names if one in self.placed and self.placed[one][1] <= order.up_to]
        for name in names:
            if name not in self.placed or not self._home.comes_back(name):
                raise NoSuchAgent(
                    f"node {self._core.name} has no agent {name!r} that was placed by order",
                    hint="agents that its own program made take their orders there",
                    agent=name,
                )
        if names:
            if order.verb == "stop":
                placed = {name: self.placed.pop(name) for name in names}
                try:
                    await self._home.order("stop", names, within, order.forget)
                except BaseException:
                    self.placed.update({one: placed[one] for one in names if self._home.comes_back(one)})
                    raise
            else:
                await self._home.order(order.verb, names, within)
            self.alone.ordered(order.verb, names)

    # what their home has to know --------------------------------------------------------------------------------------
    def gone(self, names: Iterable[str]) -> None:
        """Note that agents end here, and not for good: another node has later ones, or their home is lost."""
        for name in names:
            placed = self.placed.pop(name, None)
            if placed is not None:
                self._owed.setdefault(Owed(*placed, "", False, True), set()).add(name)

    def supervised(self, event: AgentGivenUp) -> None:
        """Note why an agent here stays away."""
        if event.agent in self.placed:
            self._given_up[event.agent] = event

    def look(self) -> None:
        """Tell the homes of agents that have ended for good."""
        for name in [one for one in self.placed if one not in self._making and not self._home.comes_back(one)]:
            node, number = self.placed.pop(name)
            event = self._given_up.pop(name, None)
            why = f"it was stopped at node {self._core.name}" if event is None else event.reason
            owed = Owed(node, number, why[:_REASON], event is not None and event.failed, False)
            self._owed.setdefault(owed, set()).add(name)
        while len(self._owed) > _OWED:
            del self._owed[next(iter(self._owed))]
        now, reporting = time.monotonic(), set(self._reports.values())
        for owed, names in self._owed.items():
            if owed not in reporting and self._core.peers.reachable(owed.node):
                number, some = self._core.order_number(), tuple(sorted(names)[:_NAMES_AT_ONCE])
                self._reports[number] = owed
                report = EndedOrder(number, some, owed.order, owed.reason, owed.failed, owed.again)
                self._placing.give(now, owed.node, report, _REPORT_WITHIN)

    def reported(self, order: EndedOrder, answer: Answer) -> None:
        """Take the answer to a report."""
        owed = self._reports.pop(order.number, None)
        names = self._owed.get(owed) if owed is not None else None
        if owed is not None and names is not None and isinstance(answer, bytes):
            names.difference_update(order.names)
            if not names:
                del self._owed[owed]

    async def end_placed(self, within: float) -> None:
        """End the agents that were placed here: this node leaves, and others make them anew once it has said so."""
        self.open.clear()  # later orders wait
        names = [name for name in self.placed if self._home.comes_back(name)]
        self.placed.clear()  # they have not ended for good
        if names:
            with contextlib.suppress(ThreeModeError):
                await self._home.order("stop", names, within)

    def forgotten(self, node: str) -> None:
        """Note that a home will not be back: nobody has to be told."""
        for owed in [owed for owed in self._owed if owed.node == node]:
            del self._owed[owed]


def policy_of(order: PlaceOrder) -> Restart:
    """Return the restart policy of an order; ConfigurationError where its figures are none."""
    policy: Any = order.policy
    return Restart(
        policy.strategy, policy.limit, policy.within, policy.wait, policy.wait_at_most, on_error=policy.on_error
    )
