"""Control server: the requests of hosts, receipts and the command line that an orchestrator answers on the bus."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Any

import msgspec

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.keeping.bus_store import CLAIM, WRITE, OrdersOfHosts
from three_mode.agents.supervisor import host_logs
from three_mode.agents.supervisor.llm_events import LLMEventCollector
from three_mode.agents.supervisor.node_events import NodeEvents
from three_mode.agents.supervisor.supervisor import Supervisor
from three_mode.agents.supervisor.watched_logs import WatchedLogs
from three_mode.agents.wire import errors as wire_errors
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import (
    AGENT_NEWS,
    EVENTS,
    LETTERS,
    ORCHESTRATOR,
    Failed,
    NamesOrder,
    NodeTable,
    RaisedReport,
    Table,
    host_name,
)
from three_mode.agents.wire.watching import AboutSystem, LogLevelOrder, LogsOrder, NewLetters, SinceOrder
from three_mode.errors import ConfigurationError, ModeUnavailable, NoSuchAgent, StateNotKept
from transports.bus import CallCancelled, Encoded, Kind, NameTaken, Request

_failed = decoder_for(Failed)
_raised = decoder_for(RaisedReport)
_names = decoder_for(NamesOrder)
_word = decoder_for(str)
_seconds = decoder_for(float)
_since = decoder_for(SinceOrder)
_log_level = decoder_for(LogLevelOrder)
_logs = decoder_for(LogsOrder)
_nothing = decoder_for(None)
_LEVEL_WITHIN = 2.0  # seconds that hosts have to take a level
_NODES = 1.5  # times as long as for a host of this node is waited for another node, which waits for hosts itself


async def _no_letters(within: float) -> list[DeadLetter]:
    return []


async def _no_nodes(within: float) -> tuple[NodeTable, ...]:
    return ()


class ControlServer:
    """Server of the name `orchestrator` on the bus."""

    def __init__(
        self,
        supervisor: Supervisor,
        session: Session,
        llm_events: LLMEventCollector,
        node_events: NodeEvents,
        *,
        page_content: bool = False,
    ) -> None:
        self._page_content = page_content
        self._supervisor, self._session = supervisor, session
        self._llm_events, self._node_events = llm_events, node_events
        self._logs = WatchedLogs()
        self.listeners_elsewhere: Callable[[str], dict[str, int]] = lambda topic: {}
        """Topic -> bus member that stands for other nodes -> how many agents there listen."""
        self.kept: OrdersOfHosts | None = None
        """What agents of the hosts keep."""
        self.nodes_elsewhere: Callable[[float], Awaitable[tuple[NodeTable, ...]]] = _no_nodes
        """Seconds -> the tables of the other nodes."""
        self.letters_elsewhere: Callable[[float], Awaitable[list[DeadLetter]]] = _no_letters
        """Seconds -> the dead letters of the other nodes."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._orders: dict[str, Callable[[bytes], Awaitable[Any]]] = {
            "table": self._on_table,
            "table_here": self._on_table_here,
            LETTERS: self._on_dead_letters,
            "dead_letters_here": self._on_dead_letters_here,
            "stop": self._on_stop,
            "restart": self._on_restart,
            "pause": self._on_pause,
            "resume": self._on_resume,
            "kill": self._on_kill,
            "events": self._on_events,
            "events_since": self._on_events_since,
            "letters_since": self._on_letters_since,
            "about": self._on_about,
            "log_level": self._on_log_level,
            "logs_since": self._on_logs_since,
            CLAIM: self._on_claim_kept,
            WRITE: self._on_keep,
        }

    async def open(self) -> None:
        """Register the name; ConfigurationError if the bus has an orchestrator already."""
        try:
            await self._session.bus.register(ORCHESTRATOR, self.on_request)
        except NameTaken as error:
            raise ConfigurationError(
                f"the bus {self._session.bus.name!r} has an orchestrator already: {error}",
                hint="choose another name=, or join it with three_mode.agents.join",
            ) from None

    def close(self) -> None:
        """Keep nothing more for those who look on."""
        self._logs.end()

    def on_request(self, request: Request) -> None:
        """Answer a request. The bus calls this for each."""
        if request.kind is Kind.SEND:
            if request.topic == "failed":
                self._supervisor.agent_failed(_failed(request.raw))
            elif request.topic == "raised":
                self._supervisor.handlers_raised(_raised(request.raw))
            elif request.topic == "log":
                host_logs.handle(request.raw)
            elif request.topic == "llm_events":
                self._llm_events.received(request.raw)
            elif request.topic == AGENT_NEWS:
                self._node_events.received(request.raw)
        elif request.topic == EVENTS and request.streams:
            self._node_events.serve(request)
        elif request.topic == "listeners":
            topic = _word(request.raw)
            counts = self._supervisor.roster.listeners(topic, self._supervisor.hosts.members)
            request.reply(Encoded(encode(counts | self.listeners_elsewhere(topic))))
        elif request.topic in self._orders:
            task = asyncio.get_running_loop().create_task(self._answer(request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            request.fail(*wire_errors.to_wire(NoSuchAgent(f"an orchestrator takes no order {request.topic!r}")))

    async def _answer(self, request: Request) -> None:
        try:
            request.reply(Encoded(encode(await self._orders[request.topic](request.raw))))
        except CallCancelled:
            pass  # the caller has left
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  # any error goes to the caller
            request.fail(*wire_errors.to_wire(wire_errors.of_handler(error, ORCHESTRATOR, request.topic)))

    async def _on_table(self, raw: bytes) -> Any:
        return await self.table(1.0)

    async def _on_table_here(self, raw: bytes) -> Any:
        """The table of this node alone, for another node."""
        return await self._supervisor.overview.table(_seconds(raw))

    async def table(self, within: float) -> Table:
        """Return all hosts and agents, also those of other nodes. `within`: seconds to wait for hosts and nodes."""
        overview = self._supervisor.overview
        table, nodes = await asyncio.gather(overview.table(within), self.nodes_elsewhere(_NODES * within))
        return msgspec.structs.replace(table, nodes=nodes)

    async def _on_dead_letters(self, raw: bytes) -> Any:
        return await self.dead_letters(1.0)

    async def _on_dead_letters_here(self, raw: bytes) -> Any:
        """The dead letters of this node alone, for another node."""
        return await self._supervisor.overview.dead_letters(_seconds(raw))

    async def dead_letters(self, within: float) -> list[DeadLetter]:
        """Return the dead letters of all processes and nodes that answer in time, the oldest first."""
        here, elsewhere = await asyncio.gather(
            self._supervisor.overview.dead_letters(within), self.letters_elsewhere(_NODES * within)
        )
        if self._node_events.node:
            here = [msgspec.structs.replace(letter, node=self._node_events.node) for letter in here]
        return sorted([*here, *elsewhere], key=lambda letter: letter.when)

    async def _on_events(self, raw: bytes) -> Any:
        return self._supervisor.event_log.read()

    async def _on_events_since(self, raw: bytes) -> Any:
        since: SinceOrder = _since(raw)
        return [event for event in self._supervisor.event_log.read() if event.when > since.when]

    async def _on_letters_since(self, raw: bytes) -> Any:
        """Dead letters for those who look on: without their content, unless the program allows it to be shown."""
        since: SinceOrder = _since(raw)
        letters = await self._supervisor.overview.dead_letters(1.0, since.when)
        if not self._page_content:
            letters = [msgspec.structs.replace(letter, payload=b"") for letter in letters]
        return NewLetters(tuple(letters))

    async def _on_about(self, raw: bytes) -> Any:
        return AboutSystem(version("three-mode"), self._page_content)

    async def _on_log_level(self, raw: bytes) -> None:
        """Give a logger a level here, where the records of hosts come together, and in all hosts; new ones take it
        over."""
        order: LogLevelOrder = _log_level(raw)
        logging.getLogger(order.logger or None).setLevel(order.level)
        hosts = [host_name(host.label) for host in self._supervisor.hosts.running]
        answers = await host_answers(self._session.bus, hosts, "log_level", _nothing, _LEVEL_WITHIN, order)
        failed = [f"{host}: {answer}" for host, answer in answers.items() if isinstance(answer, Exception)]
        if failed:
            raise ModeUnavailable(f"not all hosts took the level: {'; '.join(failed)}")

    async def _on_logs_since(self, raw: bytes) -> Any:
        return self._logs.asked(_logs(raw))

    async def _on_claim_kept(self, raw: bytes) -> Any:
        return await self._store().claim(raw)

    async def _on_keep(self, raw: bytes) -> Any:
        return await self._store().write(raw)

    def _store(self) -> OrdersOfHosts:
        if self.kept is None:
            raise StateNotKept("this orchestrator has not opened its store of states", retryable=True)
        return self.kept

    async def _on_stop(self, raw: bytes) -> None:
        await self._supervisor.stop(list(_names(raw).names), 10.0)

    async def _on_restart(self, raw: bytes) -> None:
        await self._supervisor.restart(list(_names(raw).names), _names(raw).why or "asked for", 10.0)

    async def _on_pause(self, raw: bytes) -> None:
        await self._supervisor.order("pause", _names(raw).names, 10.0)

    async def _on_resume(self, raw: bytes) -> None:
        await self._supervisor.order("resume", _names(raw).names, 10.0)

    async def _on_kill(self, raw: bytes) -> None:
        """Kill host processes; their agents come back as their restart strategy says."""
        for label in _names(raw).names:
            host = self._supervisor.hosts.all.get(label)
            if host is None:
                raise NoSuchAgent(f"this orchestrator has no host {label!r}", agent=label)
            if host.process is None:
                raise ConfigurationError(f"{label} is the orchestrator's own process", hint="stop its agents")
            host.process.kill()
