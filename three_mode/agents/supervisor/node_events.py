"""Events of the hosts and agents of a node, for whoever reads them: here, or at another node of its cluster.

Hosts send what only they see, and a node sends its events over the network, while somebody reads them.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, get_args

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.host.agent_news import news_of
from three_mode.agents.supervisor.asked_hosts import AskedHosts
from three_mode.agents.supervisor.events import SupervisorEvent, SupervisorEvents
from three_mode.agents.supervisor.hosts import Hosts
from three_mode.agents.wire.agent_news import AgentNews, EventsLost, NewDeadLetter
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import AGENT_NEWS
from three_mode.errors import ConfigurationError
from three_mode.events.hub import KindHub
from three_mode.events.kinds import GAP
from three_mode.events.queue import EventQueue
from transports.bus import BusError, CallCancelled, Encoded, Request

WAITING = 1024  # events that may wait for a reader
_BATCH = 256  # events of one part of a stream to another node
_KINDS: dict[str, type] = {one.__name__: one for one in get_args(SupervisorEvent | AgentNews)}


class NodeEvent(msgspec.Struct, frozen=True):
    """An event, and the node that it happened at."""

    node: str
    """Name of the node; empty without a cluster."""
    event: SupervisorEvent | AgentNews

    @property
    def kind(self) -> str:
        """Name of the event's class; `gap` for lost ones."""
        return GAP if type(self.event) is EventsLost else type(self.event).__name__

    def __str__(self) -> str:
        return f"{self.node}: {self.event}" if self.node else str(self.event)


_kinds = decoder_for(tuple[str, ...])
_news = decoder_for(list[AgentNews])
_events = decoder_for(list[NodeEvent])


class NodeEvents:
    """Events of one node, from its supervisor, its hosts and its dead letters."""

    def __init__(self, session: Session, hosts: Hosts, event_log: SupervisorEvents) -> None:
        self._session, self._log = session, event_log
        self._asked = AskedHosts(session, hosts, AGENT_NEWS, lambda: self.hub.wanted)
        self.hub: KindHub[NodeEvent] = KindHub(self._changed)
        self.node = ""
        """Name of this node; empty without a cluster."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def ready(self) -> None:
        """Wait until the hosts that run send what is wanted."""
        await self._asked.ask()

    def received(self, raw: bytes) -> None:
        """Take what a host has sent."""
        for one in _news(raw):
            self.take(one)

    def take(self, event: SupervisorEvent | AgentNews) -> None:
        """Give an event to all who want its kind."""
        self.hub.publish(NodeEvent(self.node, event))

    async def close(self) -> None:
        """End all readers."""
        self.hub.close()
        self._log.passing = self._session.dead_letters.told = None
        await self._asked.close()
        for task in self._tasks:
            task.cancel()

    def _changed(self) -> None:
        """Listen to the sources only while somebody reads."""
        wanted, listeners = self.hub.wanted, self._log.listeners
        self._log.passing = self.take if wanted else None
        self._session.dead_letters.told = self._letter if NewDeadLetter.__name__ in wanted else None
        if wanted and self.take not in listeners:
            listeners.append(self.take)
        elif not wanted and self.take in listeners:
            listeners.remove(self.take)
        self._asked.changed()

    def _letter(self, letter: DeadLetter) -> None:
        self.take(news_of(letter))

    # for other nodes --------------------------------------------------------------------------------------------------
    def serve(self, request: Request) -> None:
        """Send events of this node to a reader at another one, until it leaves. The first part says that it begins."""
        task = asyncio.get_running_loop().create_task(self._serve(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

        def cancel(_: str) -> None:
            task.cancel()

        request.on_cancel(cancel)

    async def _serve(self, request: Request) -> None:
        stream, kinds = request.open_stream(), frozenset(_kinds(request.raw)) & _KINDS.keys()
        queue: EventQueue[NodeEvent] = EventQueue(WAITING, self._gap)
        leave = self.hub.attach(kinds, queue.put, queue.end)
        try:
            await self.ready()
            await stream.send(Encoded(encode([])))
            while batch := await queue.batch():
                for start in range(0, len(batch), _BATCH):
                    await stream.send(Encoded(encode(batch[start : start + _BATCH])))
            stream.end()
        except (BusError, CallCancelled):
            pass  # the reader has left
        finally:
            leave()

    def _gap(self, count: int) -> NodeEvent:
        return NodeEvent(self.node, EventsLost(count, "they could not be sent over the network in time"))


def read_events(raw: bytes) -> list[NodeEvent]:
    """Read a part of the stream of another node."""
    found: list[NodeEvent] = _events(raw)
    return found


def chosen_kinds(kinds: Iterable[type] | type | None) -> frozenset[str]:
    """Return the names of the classes of events that somebody asks for; None means all."""
    if kinds is None:
        return frozenset(_KINDS)
    given: Any = (kinds,) if isinstance(kinds, type) else tuple(kinds)
    for kind in given:
        if _KINDS.get(getattr(kind, "__name__", "")) is not kind:
            raise ConfigurationError(f"{kind!r} is no class of events", hint=f"there are {', '.join(sorted(_KINDS))}")
    if not given:
        raise ConfigurationError("no kinds of events are asked for", hint="leave kinds= out for all of them")
    return frozenset(kind.__name__ for kind in given)
