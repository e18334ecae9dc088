"""What a running system says of itself, asked over its bus: the orchestrator's table and events, the hosts' reports."""

from typing import Any

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.supervisor.events import SupervisorEvent
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import HOST, ORCHESTRATOR, Table
from three_mode.agents.wire.watching import (
    AboutSystem,
    LogsOrder,
    LogsReport,
    NewLetters,
    SinceOrder,
    WatchOrder,
    WatchReport,
)
from three_mode.errors import ModeUnavailable
from transports.bus import Bus, BusError, Encoded

_table = decoder_for(Table)
_about = decoder_for(AboutSystem)
_events = decoder_for(list[SupervisorEvent])
_letters = decoder_for(NewLetters)
_report = decoder_for(WatchReport)
_logs = decoder_for(LogsReport)
WITHIN = 3.0  # seconds that the orchestrator has to answer
WATCH_WITHIN = 1.5  # the same of hosts: one that is blocked must not make the others believe that nobody looks


class WatchedSystem:
    """The orchestrator and the hosts of one bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._session = Session(bus)

    async def table(self) -> Table:
        """Return all hosts and agents; ModeUnavailable where there is no orchestrator."""
        found: Table = _table(await self.ask("table", None))
        return found

    async def about(self) -> AboutSystem:
        """Return what the orchestrator says of itself."""
        found: AboutSystem = _about(await self.ask("about", None))
        return found

    async def events(self, since: float) -> list[SupervisorEvent]:
        """Return the events of hosts and agents since a moment, the oldest first."""
        found: list[SupervisorEvent] = _events(await self.ask("events_since", SinceOrder(since)))
        return found

    async def letters(self, since: float) -> tuple[DeadLetter, ...]:
        """Return the dead letters since a moment, the oldest first."""
        found: NewLetters = _letters(await self.ask("letters_since", SinceOrder(since)))
        return found.letters

    async def logs(self, order: LogsOrder) -> LogsReport:
        """Have the orchestrator keep log records for a while, and return those that are new."""
        found: LogsReport = _logs(await self.ask("logs_since", order))
        return found

    async def watch(self, order: WatchOrder) -> list[WatchReport]:
        """Have all hosts of this bus count for a while, and return what they have counted so far."""
        hosts = [name for name in self.bus.names() if name.startswith(HOST)]
        answers = await host_answers(self.bus, hosts, "watch", _report, WATCH_WITHIN, order)
        return [answer for answer in answers.values() if isinstance(answer, WatchReport)]

    async def watch_agent(self, agent: str) -> WatchReport | None:
        """Have the host of an agent look at it for a while; None where no host of this bus has it, or answers."""
        host = self._session.hosts.get(self.bus.locate(agent) or "")
        if host is None:
            return None
        order = WatchOrder(agent=agent)
        answer = (await host_answers(self.bus, [host], "watch", _report, WATCH_WITHIN, order))[host]
        return answer if isinstance(answer, WatchReport) else None

    async def ask(self, order: str, what: Any, within: float = WITHIN) -> bytes:
        """Give the orchestrator an order, and return its answer."""
        if self.bus.locate(ORCHESTRATOR) is None:
            raise ModeUnavailable(f"no orchestrator is on the bus {self.bus.name!r}")
        try:
            reply = await self.bus.ask(ORCHESTRATOR, Encoded(encode(what)), topic=order, within=within)
        except BusError as error:
            raise self._session.error(error, ORCHESTRATOR, order) from None
        return reply.raw
