"""Standing by: which orchestrator of a cluster leads, and what its program is told of it."""

import asyncio
import time
from collections.abc import Callable

from three_mode.agents.supervisor.events import SteppedDown, TookOver
from three_mode.cluster.core.actions import CallAnswered, CallFailed, PeerChanged
from three_mode.cluster.core.leading import Leading, LeadLost, LeadTaken
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.orders import ORDER, Answer, CopyOrder, LeadOrder, encode_order
from three_mode.cluster.core.placing import Placing
from three_mode.cluster.home import NodeHome
from three_mode.cluster.order_taker import OrderTaker
from three_mode.errors import ConfigurationError, DeadlineExceeded, ModeUnavailable, NotLeading

_LOOK = 0.01  # seconds until it is looked again whether the nodes that stand by have the latest copy


class StandingBy:
    """The part of one node in leading. `taker` has the agents here that others lead, `flush` carries out actions."""

    def __init__(
        self,
        core: ClusterNode,
        placing: Placing,
        home: NodeHome,
        taker: OrderTaker,
        stands_by: bool,
        flush: Callable[[], None],
    ) -> None:
        self._core, self._placing, self._home, self._taker, self._flush = core, placing, home, taker, flush
        self._leading = Leading(core, placing, stands_by)
        self._changed = asyncio.Event()
        self._closed = False
        taker.of_leads = self.take

    def close(self) -> None:
        """End all that wait for this node to lead."""
        self._closed = True
        self._changed.set()

    # what the program asks --------------------------------------------------------------------------------------------
    @property
    def leads(self) -> bool:
        """Whether agents may be placed from here."""
        return not self._leading.passive

    def check(self, verb: str) -> None:
        """Raise NotLeading where this node stands by."""
        if self.leads:
            return
        leaders = [self._core.peers.name(node) for node in self._core.leads.leaders()]
        who = f"node {' and '.join(sorted(leaders))} leads" if leaders else "no node leads yet"
        raise NotLeading(
            f"{verb}: this orchestrator stands by; {who}",
            hint=f"{verb} there, or `await orc.leading()`, which returns once this one has taken over",
            leader=leaders[0] if leaders else "",
        )

    async def lead(self, within: float | None) -> None:
        """Wait until this node leads."""
        try:
            async with asyncio.timeout(within):
                while not self.leads:
                    self._changed.clear()
                    await self._changed.wait()
                    if self._closed:
                        raise ModeUnavailable("this orchestrator ended before it led")
        except TimeoutError:
            raise DeadlineExceeded("this orchestrator stands by still", stage="leading") from None

    async def hand_over(self, within: float) -> None:
        """Have the next node that stands by lead, with all agents where they are; this one stands by then."""
        self.check("hand_over")
        ends, core = time.monotonic() + within, self._core
        if not self._placing.plan.agents and not core.leads.own.term:
            raise ConfigurationError("this orchestrator has placed no agents that another one could lead")
        while self.leads:
            if not core.leads.standbys():
                raise ConfigurationError(
                    "no orchestrator stands by that could lead", hint="start one: Orchestrator(..., standby=True)"
                )
            other = self._leading.next_in_line()
            if other:
                order = LeadOrder(core.order_number(), self._placing.plan.log.version)
                core.ask(time.monotonic(), other, "", ORDER, encode_order(order), max(0.001, ends - time.monotonic()))
                self._flush()
            await self._look_again(ends, "no orchestrator has taken over in time", core.timing.heartbeat)

    async def _look_again(self, ends: float, late: str, pause: float) -> None:
        """Wait for a change, a moment at most."""
        if time.monotonic() >= ends:
            raise DeadlineExceeded(late, stage="leading")
        self._changed.clear()
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def copied(self) -> None:
        """Wait until every node that stands by, and can be reached, has what was done here until now."""
        version = self._placing.plan.log.version
        ends = time.monotonic() + 2 * self._core.timing.lost_after  # by then it answers, or is lost
        self.copy()
        while self._leading.behind(version) and time.monotonic() < ends and not self._closed:  # noqa: ASYNC110  # no events
            await asyncio.sleep(_LOOK)

    # what comes from elsewhere ----------------------------------------------------------------------------------------
    def tick(self, now: float, hears_itself: bool) -> None:
        """Take over where that is due, and send copies."""
        self._leading.tick(now, hears_itself)
        self._happened()

    def copy(self) -> None:
        """Send what has changed in the plan to the nodes that stand by."""
        self._leading.copy(time.monotonic())
        self._flush()

    def said(self) -> None:
        """Note that a node says another part of itself in leading."""
        self._leading.said(time.monotonic())
        self._happened()

    def peer_changed(self, change: PeerChanged) -> None:
        """Note that another node was lost, left or is back."""
        self._leading.peer_changed(change)

    def call_ended(self, action: CallAnswered | CallFailed) -> bool:
        """Take the end of a call; return whether it was one of a copy."""
        found = self._leading.result(time.monotonic(), action)
        if found:
            self._flush()
        return found

    def take(self, node: str, order: CopyOrder | LeadOrder) -> Answer:
        """Take an order of a node that leads; return the answer."""
        if isinstance(order, CopyOrder):
            answer = self._leading.copy_came(node, order)
        else:
            answer = self._leading.asked_to_lead(node, order)
        self._happened()
        return answer

    def _happened(self) -> None:
        for event in self._leading.take():
            match event:
                case LeadTaken(_, name, agents):
                    self._home.happened(TookOver(self._core.name, name, agents))
                case LeadLost(rival, here):
                    self._taker.adopt(rival, here)
                    self._home.happened(SteppedDown(self._core.peers.name(rival)))
            self._changed.set()
        self._taker.look_who_leads()
        self._flush()
