"""What a program sees of its orchestrator: tables, dead letters, events, and a page to look at it."""

import asyncio
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from three_mode.agents.calling.refs import Verbs
from three_mode.agents.calling.session import Session
from three_mode.agents.supervisor.control_server import ControlServer
from three_mode.agents.supervisor.event_reader import AgentEventReader
from three_mode.agents.supervisor.events import SupervisorEvent, SupervisorEvents
from three_mode.agents.supervisor.llm_events import LLMEventCollector
from three_mode.agents.supervisor.node_events import NodeEvents
from three_mode.agents.supervisor.supervisor import Supervisor
from three_mode.agents.whom import no_cluster
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import NodeReport, Table
from three_mode.errors import ConfigurationError
from three_mode.handling import check_time

if TYPE_CHECKING:
    from three_mode.events.reader import EventReader


class Views(Verbs):
    """The part of an `Orchestrator` that others look at, and what it consists of while it runs."""

    def __init__(self) -> None:
        self._event_log = SupervisorEvents()
        self._session: Session | None = None
        self._supervisor: Supervisor | None = None
        self._gateway: Any = None  # to other nodes
        self._control_server: ControlServer | None = None
        self._llm_events: LLMEventCollector | None = None
        self._node_events: NodeEvents | None = None
        self._shown_talks = ""  # file of the conversations that the page shows
        self._page: asyncio.Task[Any] | None = None  # opens the endpoint of the page, once somebody asked for it

    def _make_views(self, session: Session, supervisor: Supervisor, *, page_content: bool, talks: str) -> None:
        """Make what gathers events, and what answers who looks on."""
        self._shown_talks = talks if page_content else ""
        self._llm_events = LLMEventCollector(session, supervisor.hosts)
        self._node_events = NodeEvents(session, supervisor.hosts, self._event_log)
        self._control_server = ControlServer(
            supervisor, session, self._llm_events, self._node_events, page_content=page_content
        )

    async def _close_page(self) -> None:
        """Close the endpoint of the page, if there is one."""
        page, self._page = self._page, None
        if page is not None:
            await asyncio.wait([page])
            if not page.cancelled() and page.exception() is None:
                await page.result().close()

    async def _close_readers(self) -> None:
        """End whoever reads events or looks on."""
        if self._control_server is not None:
            self._control_server.close()
        if self._llm_events is not None:
            await self._llm_events.close()
        if self._node_events is not None:
            await self._node_events.close()

    @property
    def _running_supervisor(self) -> Supervisor:
        if self._supervisor is None or self._session is None:
            raise ConfigurationError("this orchestrator is not running", hint="async with Orchestrator() as orc: ...")
        return self._supervisor

    async def table(self, within: float = 2.0) -> Table:
        """Return all hosts and agents, with figures; in a cluster also those of the other nodes, in `nodes`.

        A host that does not answer within `within` seconds (2) is in `silent`; a node that does not has a `problem`.
        """
        check_time(within)
        self._running_supervisor  # noqa: B018  # for its error
        assert self._control_server is not None
        return await self._control_server.table(within)

    async def dead_letters(self, within: float = 2.0) -> list[DeadLetter]:
        """Return messages that no agent has taken, the oldest first; in a cluster also those of the other nodes.

        `within`: seconds to wait for hosts (2).
        """
        check_time(within)
        self._running_supervisor  # noqa: B018  # for its error
        assert self._control_server is not None
        return await self._control_server.dead_letters(within)

    def nodes(self) -> list[NodeReport]:
        """Return the nodes of the cluster, this one first; ConfigurationError where there is no cluster."""
        if self._gateway is None:
            self._running_supervisor  # noqa: B018  # for its error
            raise no_cluster("this orchestrator belongs to no cluster")
        found: list[NodeReport] = self._gateway.nodes()
        return found

    @property
    def events(self) -> list[SupervisorEvent]:
        """Events of hosts, agents and other nodes, the oldest first."""
        return self._event_log.read()

    def on_event(self, listener: Callable[[SupervisorEvent], None]) -> None:
        """Have `listener` called with each event as it happens."""
        self._event_log.listeners.append(listener)

    def agent_events(self, kinds: Iterable[type] | type | None = None, *, waiting: int = 1024) -> AgentEventReader:
        """Events of hosts and agents, in a cluster of all nodes: an async iterator of `NodeEvent`, from when an `async
        with` block is entered or the first event is waited for.

        `kinds`: classes of events, by default all: those of `events`, and `AgentsSpawned`, `AgentsDied`,
        `AgentsStopped`, `NewDeadLetter`, `BroadcastsMissed`, `EventsLost`. Hosts and other nodes send them only while
        somebody reads. Of more than `waiting` events that wait the oldest are lost, and an `EventsLost` says how many.
        """
        self._running_supervisor  # noqa: B018  # for its error
        assert self._node_events is not None
        assert self._session is not None
        nodes: Callable[[], Iterable[NodeReport]] = self._gateway.nodes if self._gateway is not None else tuple
        return AgentEventReader(self._node_events, self._session, nodes, kinds, waiting)

    def llm_events(self, kinds: Iterable[str] | None = None, *, waiting: int = 1024) -> "EventReader":
        """Events of the calls that agents make with `self.llm`, as `LLMConnection.events` has them: an async iterator,
        until the orchestrator stops. `event.agent` is the agent that calls.

        Hosts send them only while somebody listens, from when an `async with` block is entered or the first event is
        waited for. `kinds` and `waiting` are those of `LLMConnection.events`.
        """
        self._running_supervisor  # noqa: B018  # for its error
        assert self._llm_events is not None
        return self._llm_events.reader(kinds, waiting)

    async def page(self, port: int = 0) -> str:
        """Return the address of a page to look at this system and steer it, with the key that lets one in.

        The page is served by this process, on loopback, from the first call until the orchestrator stops. `port`: where
        (any free port). Whoever has the address may steer.
        """
        self._running_supervisor  # noqa: B018  # for its error
        if self._page is None or (self._page.done() and (self._page.cancelled() or self._page.exception() is not None)):
            made = import_module("three_mode.serve.page_endpoint")  # endpoints stand above, and are found by name
            content = made.PageContent(self._running_supervisor.session.bus, talks=self._shown_talks)
            opening = made.PageEndpoint.open(content, self.llm, self, port)
            self._page = asyncio.get_running_loop().create_task(opening)
        address: str = (await asyncio.shield(self._page)).address
        return address
