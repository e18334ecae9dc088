"""Control client of the command line: ask the orchestrator of a running bus, or the bus's directory where there is
none."""

from types import TracebackType
from typing import Any, Self

from three_mode.agents.calling.join import join
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.supervisor.events import SupervisorEvent
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import ORCHESTRATOR, AgentReport, HostReport, NamesOrder, Table
from three_mode.errors import ModeUnavailable
from transports.bus import BusError, Encoded

_table = decoder_for(Table)
_dead_letters = decoder_for(list[DeadLetter])
_events = decoder_for(list[SupervisorEvent])
_WITHIN = 5.0


class ControlClient:
    """Client of an orchestrator's control server: an async context manager that joins the bus by its name."""

    def __init__(self, bus: str) -> None:
        self._joined = join(bus)

    async def __aenter__(self) -> Self:
        await self._joined.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._joined.__aexit__(kind, error, trace)

    async def table(self) -> Table:
        """Return all hosts and agents; without an orchestrator, without figures."""
        if self._joined.bus.locate(ORCHESTRATOR) is None:
            return self._from_directory()
        found: Table = _table(await self._ask("table", None))
        return found

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the dead letters of all processes, the oldest first."""
        found: list[DeadLetter] = _dead_letters(await self._ask("dead_letters", None))
        return found

    async def events(self) -> list[SupervisorEvent]:
        """Return the events of hosts and agents, the oldest first."""
        found: list[SupervisorEvent] = _events(await self._ask("events", None))
        return found

    async def order(self, what: str, name: str) -> None:
        """Give an order: `pause`, `resume`, `restart` or `stop` an agent, or `kill` a host."""
        await self._ask(what, NamesOrder((name,), "asked for in top"))

    async def _ask(self, topic: str, what: Any) -> bytes:
        bus = self._joined.bus
        if bus.locate(ORCHESTRATOR) is None:
            raise ModeUnavailable(f"no orchestrator is on the bus {bus.name!r}")
        try:
            reply = await bus.ask(ORCHESTRATOR, Encoded(encode(what)), topic=topic, within=_WITHIN)
        except BusError as error:
            raise self._joined._three_mode_caller.session.error(error, ORCHESTRATOR, topic) from None
        return reply.raw

    def _from_directory(self) -> Table:
        """Return hosts and agents as the directory of the bus has them, without figures."""
        bus = self._joined.bus
        members = {one.id: one for one in bus.members().values() if one.id != bus.id}
        owned: dict[str, list[str]] = {member: [] for member in members}
        for name, member in bus.names().items():
            owned.setdefault(member, []).append(name)
        hosts = tuple(
            HostReport(one.label, one.pid, "no orchestrator", len(owned[one.id]), 0.0, 0, 0, 0, 0, 0, 0.0, None, None)
            for one in members.values()
        )
        agents = tuple(
            AgentReport(name, "", members[member].label, "registered", 0, "", 0.0, 0, 0, 0, 0, None, None, "")
            for member, names in owned.items()
            if member in members
            for name in names
        )
        return Table(bus.name, 0.0, hosts, agents)
