"""Placement: what a gateway has to place agents on other nodes, and to take their orders."""

import asyncio
import time
from collections.abc import Callable

from three_mode.agents.supervisor.events import AgentGivenUp
from three_mode.cluster.clearing import Clearing
from three_mode.cluster.core.actions import CallAnswered, CallFailed, PeerChanged
from three_mode.cluster.core.echo import Echo
from three_mode.cluster.core.frames import Offer
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.placing import Placing
from three_mode.cluster.home import NodeHome
from three_mode.cluster.order_taker import OrderTaker
from three_mode.cluster.placer import Placer
from three_mode.cluster.spawning import ClusterSpawning
from three_mode.cluster.standing_by import StandingBy
from three_mode.errors import ConfigurationError
from transports.bus import Bus

_END_WITHIN = 5.0  # seconds for agents on other nodes, once this one leaves


class Placement:
    """Both sides of placing at one node: `placer` and `spawning` give orders, `taker` does those of others, and
    `standing_by` knows who leads.

    `foreign()` are the members of the bus that stand for other nodes, and `flush` carries out actions.
    """

    def __init__(
        self,
        core: ClusterNode,
        cluster: str,
        home: NodeHome,
        bus: Bus,
        offer: Offer,
        alone: str,
        standby: bool,
        foreign: Callable[[], set[str]],
        flush: Callable[[], None],
    ) -> None:
        self._core, self._cluster = core, cluster
        self._placing, self._echo = Placing(core), Echo(core.timing)
        clearing = Clearing(core, bus, foreign, flush)
        self.taker = OrderTaker(core, self._placing, home, offer, alone, clearing, flush)
        self.standing_by = StandingBy(core, self._placing, home, self.taker, standby, flush)
        self.placer = Placer(core, self._placing, home, offer, clearing, flush, self.taker)
        self.placer.copy, self.taker.copied = self.standing_by.copy, self.standing_by.copied
        self.spawning = ClusterSpawning(self.placer, cluster, self.standing_by)
        self._look_at = 0.0

    async def end_agents(self) -> None:
        """End the agents at other nodes, and those that others have placed here: this node leaves in order."""
        await asyncio.gather(self.placer.end_all(_END_WITHIN), self.taker.end_placed(_END_WITHIN))
        await self.standing_by.copied()  # what has ended does not come back by one that stands by

    async def close(self) -> None:
        """Give and take no more orders."""
        self.standing_by.close()
        await self.placer.close()
        await self.taker.close()

    def check_group(self, group: str) -> None:
        """Raise ConfigurationError where a group of this name is none that this node has placed."""
        if group in self._placing.plan.groups:
            return
        if self.taker.has_group(group):
            raise ConfigurationError(
                f"another node of the cluster {self._cluster!r} has placed the group {group!r} here",
                hint="choose another name=",
            )
        for node, view in self._core.names.items():
            if self._core.peers.reachable(node) and view.claims.in_group(group):
                where = self._core.peers.name(node)
                raise ConfigurationError(
                    f"the group {group!r} is on node {where} of the cluster {self._cluster!r} already",
                    hint="choose another name=, or stop what another program has placed: "
                    f"orc.stop(orc.group({group!r}))",
                )

    def tick(self, now: float) -> None:
        """Do what a node does each heartbeat."""
        if now >= self._look_at:
            self._look_at = now + self._core.timing.heartbeat
            steady = self._echo.is_steady(now)
            self.standing_by.tick(now, steady)
            self.placer.tick(now, steady)
            self.taker.look()

    def heard_itself(self) -> None:
        """Note that a message of this node came back over the network."""
        self._echo.heard(time.monotonic())

    def peer_changed(self, change: PeerChanged) -> None:
        """Note that another node joined, was lost, left, is back or is forgotten."""
        self._placing.peer_changed(change)
        self.standing_by.peer_changed(change)
        self.taker.alone.peer_changed(change)
        if change.state in ("lost", "left"):
            self._look_at = 0.0
        if change.state == "left":  # one that is lost, or forgotten, may only have been stopped
            self.taker.forgotten(change.node)

    def names_shown(self, names: tuple[str, ...]) -> None:
        """Note that agents are shown at another node."""
        self._placing.shown(names)

    def agents_end(self, names: tuple[str, ...]) -> None:
        """Note that agents end here, since another node has later ones."""
        self.taker.gone(names)
        self._placing.plan.ended(self._core.id, names, again=True)

    def agent_given_up(self, event: AgentGivenUp) -> None:
        """Note that an agent stays away."""
        self.taker.supervised(event)

    def call_ended(self, action: CallAnswered | CallFailed) -> None:
        """Take the end of a call that may be an order."""
        if not self.standing_by.call_ended(action) and self._placing.result(time.monotonic(), action):
            self.placer.happened()
            self.standing_by.copy()
