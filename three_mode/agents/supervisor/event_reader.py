"""Reader of the events of all nodes: those of this one, and a stream from each other one for as long as it reads."""

import asyncio
from collections.abc import Callable, Iterable

from three_mode.agents.calling.node_tables import address_of
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import encode
from three_mode.agents.supervisor.node_events import NodeEvent, NodeEvents, chosen_kinds, read_events
from three_mode.agents.wire.agent_news import EventsLost
from three_mode.agents.wire.orders import EVENTS, NodeReport
from three_mode.events.queue_reader import QueueReader
from transports.bus import BusError, Encoded

_LOOK = 0.2  # seconds until it is looked again for nodes that have joined, or are back
_BEGIN_WITHIN = 5.0  # seconds that other nodes have to begin, when a reader is entered
_STREAM = 86400.0  # seconds after which a stream is opened anew
_AHEAD = 16  # parts of a stream ahead of its reader


class AgentEventReader(QueueReader[NodeEvent]):
    """Events of hosts and agents of all nodes from now on, until it is closed: `async for one in orc.agent_events()`.

    `one.event` is the event, and `one.node` the node that it happened at. A reader that is too slow loses the oldest
    events, and gets an `EventsLost` with their number. Leaving an `async with` block, `aclose`, or dropping the reader
    ends it.
    """

    def __init__(
        self,
        events: NodeEvents,
        session: Session,
        nodes: Callable[[], Iterable[NodeReport]],
        kinds: Iterable[type] | type | None,
        waiting: int,
    ) -> None:
        chosen, own = chosen_kinds(kinds), events.node
        super().__init__(waiting, lambda count: _lost(own, count, "the reader was too slow"), self._begin)
        self._events = events
        others = self._others = _OtherNodes(session, nodes, chosen, self._queue.put)
        end = self._queue.end

        def ended() -> None:
            others.close()
            end()

        leave_here = events.hub.attach(chosen, self._queue.put, ended)

        def leave() -> None:
            leave_here()
            others.close()

        self._leave = leave

    async def _begin(self) -> None:
        await asyncio.gather(self._events.ready(), self._others.begin())


class _OtherNodes:
    """Streams of the events of all other nodes, to `put`."""

    def __init__(
        self,
        session: Session,
        nodes: Callable[[], Iterable[NodeReport]],
        kinds: frozenset[str],
        put: Callable[[NodeEvent], object],
    ) -> None:
        self._session, self._nodes, self._put = session, nodes, put
        self._order = encode(tuple(sorted(kinds)))
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._begun: dict[str, asyncio.Event] = {}
        self._watch: asyncio.Task[None] | None = None
        self._closed = False

    async def begin(self) -> None:
        """Follow all nodes that are here, and those that come; wait until those that are here have begun."""
        if self._closed:
            return
        self._look()
        waits = [asyncio.ensure_future(begun.wait()) for begun in self._begun.values()]
        self._watch = asyncio.get_running_loop().create_task(self._keep_looking())
        if waits:
            _, late = await asyncio.wait(waits, timeout=_BEGIN_WITHIN)
            for wait in late:
                wait.cancel()

    def close(self) -> None:
        """Follow nobody."""
        self._closed = True
        for task in [self._watch, *self._streams.values()]:
            if task is not None and not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            self._look()

    def _look(self) -> None:
        for node in self._nodes():
            if node.kind == "node" and node.state in ("here", "suspected") and node.id not in self._streams:
                begun = self._begun[node.id] = asyncio.Event()
                self._streams[node.id] = asyncio.get_running_loop().create_task(self._follow(node, begun))

    async def _follow(self, node: NodeReport, begun: asyncio.Event) -> None:
        """Read the stream of one node until it ends; what happens until it is opened anew is lost, and that is said."""
        why = "its stream has ended"
        try:
            stream = self._session.bus.stream(
                address_of(self._session, node), Encoded(self._order), topic=EVENTS, within=_STREAM, credit=_AHEAD
            )
            async with stream as parts:
                async for part in parts:
                    begun.set()
                    for event in read_events(part.raw):
                        self._put(event)
        except BusError as error:
            why = self._session.error(error, node.name, EVENTS).message
        finally:
            del self._streams[node.id]
            was_read = begun.is_set()
            begun.set()
        if was_read and not self._closed:
            self._put(_lost(node.name, 0, why))


def _lost(node: str, count: int, why: str) -> NodeEvent:
    return NodeEvent(node, EventsLost(count, why))
