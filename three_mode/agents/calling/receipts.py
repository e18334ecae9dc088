"""What became of a broadcast, counted in agents. Publishing costs nothing for it; asking costs one question per process."""

import asyncio
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import msgspec

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.orders import HOST, ORCHESTRATOR, HostSettled, SettledOrder
from transports.bus import BusError, Encoded, Receipt, Settled

if TYPE_CHECKING:
    from three_mode.agents.calling.session import Session

_decode = decoder_for(HostSettled)
_decode_listeners = decoder_for(dict[str, int])
_MARGIN = 0.05  # seconds that a host's answer may take beyond what it was given


class Seen(msgspec.Struct, frozen=True):
    """How many agents saw a broadcast: a plain handler has returned, a coroutine handler has started."""

    seen: int = 0
    lagging: int = 0
    """Not there yet when time was up: behind in the ring, or busy with the message in their mailbox."""
    lost: int = 0
    """Will not see it: overtaken in the ring, their mailbox was full, or the message did not fit their hint."""
    dead: int = 0
    """Their process ended before they saw it."""
    lagging_hosts: tuple[str, ...] = ()
    lost_hosts: tuple[str, ...] = ()
    dead_hosts: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not (self.lagging or self.lost or self.dead)


class AgentReceipt(msgspec.Struct, eq=False, gc=False):
    """Of one broadcast. Awaiting it waits until it is in the ring; `settled` asks who has seen it."""

    _receipt: Receipt
    _session: "Session"

    def __await__(self) -> Generator[Any, None, "AgentReceipt"]:
        try:
            yield from self._receipt.__await__()
        except BusError as error:
            raise self._session.error(error, self._receipt.topic, "broadcast") from None
        return self

    async def settled(self, within: float = 1.0) -> Seen:
        """Waits until every agent that listens saw it, or will not, at most `within` seconds. Never raises for time."""
        ends = time.monotonic() + within
        told: Settled = await self._receipt.settled(within)
        hosts = dict(self._session.hosts)
        behind = {*told.lagging_members, *told.lost_members}
        asked = [member for member in hosts if member not in behind]
        answers = await asyncio.gather(*(self._ask(hosts[member], ends) for member in asked))
        late_hosts = [hosts[member] for member, one in zip(asked, answers, strict=True) if one is None or one.late]
        known = await self._listeners(ends) if behind or told.dead_members or None in answers else {}
        counts = [one for one in answers if one is not None]
        lost = sum(one.lost for one in counts)
        late = sum(one.late for one in counts)
        agents = sum(one.agents for one in counts)
        silent = sum(known.get(member, 0) for member, one in zip(asked, answers, strict=True) if one is None)

        def name(member: str) -> str:
            return hosts.get(member, member).removeprefix(HOST)

        return Seen(
            seen=agents - late - lost,
            lagging=late + silent + sum(known.get(member, 0) for member in told.lagging_members),
            lost=lost + sum(known.get(member, 0) for member in told.lost_members),
            dead=sum(known.get(member, 0) for member in told.dead_members),
            lagging_hosts=tuple(
                sorted({*map(name, told.lagging_members), *(one.removeprefix(HOST) for one in late_hosts)})
            ),
            lost_hosts=tuple(map(name, told.lost_members)),
            dead_hosts=tuple(map(name, told.dead_members)),
        )

    async def _ask(self, host: str, ends: float) -> HostSettled | None:
        within = max(0.0, ends - time.monotonic())
        order = SettledOrder(self._session.bus.id, self._receipt.seq, self._receipt.topic, within)
        try:
            reply = await self._session.bus.ask(host, Encoded(encode(order)), topic="settled", within=within + _MARGIN)
        except BusError:
            return None
        answer: HostSettled = _decode(reply.raw)
        return answer

    async def _listeners(self, ends: float) -> dict[str, int]:
        """Member -> how many of its agents listen to the topic, or did when it ended: the orchestrator knows."""
        within = max(0.0, ends - time.monotonic()) + _MARGIN
        try:
            reply = await self._session.bus.ask(ORCHESTRATOR, self._receipt.topic, topic="listeners", within=within)
        except BusError:
            return {}
        found: dict[str, int] = _decode_listeners(reply.raw)
        return found
