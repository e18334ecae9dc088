"""What a running system says of itself, asked over its bus: the orchestrator's table and events, the hosts' reports."""

from typing import Any

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.orders import ORCHESTRATOR, Table
from three_mode.errors import ModeUnavailable
from transports.bus import Bus, BusError, Encoded

_table = decoder_for(Table)
WITHIN = 3.0  # seconds that the orchestrator has to answer


class System:
    """The orchestrator and the hosts of one bus."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._session = Session(bus)

    async def table(self) -> Table:
        """Return all hosts and agents; ModeUnavailable where there is no orchestrator."""
        found: Table = _table(await self.ask("table", None))
        return found

    async def ask(self, order: str, what: Any, within: float = WITHIN) -> bytes:
        """Give the orchestrator an order, and return its answer."""
        if self.bus.locate(ORCHESTRATOR) is None:
            raise ModeUnavailable(f"no orchestrator is on the bus {self.bus.name!r}")
        try:
            reply = await self.bus.ask(ORCHESTRATOR, Encoded(encode(what)), topic=order, within=within)
        except BusError as error:
            raise self._session.error(error, ORCHESTRATOR, order) from None
        return reply.raw
