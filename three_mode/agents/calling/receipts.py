"""Receipts: how many agents have seen a broadcast.

Publishing costs nothing for it; asking costs one question per host process.
"""

import asyncio
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import msgspec

from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.orders import HOST, ORCHESTRATOR, HostSettled, SettledOrder
from three_mode.handling import check_time
from transports.bus import BusError, Encoded, Receipt, Settled

if TYPE_CHECKING:
    from three_mode.agents.calling.session import Session

_decode = decoder_for(HostSettled)
_decode_listeners = decoder_for(dict[str, int])
_MARGIN = 0.05  # seconds that a host's answer may take beyond its own deadline


class Seen(msgspec.Struct, frozen=True):
    """How many agents have seen a broadcast. Seen: a plain handler has returned, a coroutine handler has started."""

    seen: int = 0
    """Agents that have seen it."""
    lagging: int = 0
    """Agents that had not seen it in time: their host is behind in the ring, or the message waits in their mailbox."""
    lost: int = 0
    """Agents that will not see it: their host was overtaken in the ring, their mailbox was full, or the message did
    not fit their type hint."""
    dead: int = 0
    """Agents whose process ended before they saw it."""
    failed: int = 0
    """Agents among those that have seen it whose handler has raised so far: their hosts have logged it."""
    lagging_hosts: tuple[str, ...] = ()
    """Hosts with lagging agents."""
    lost_hosts: tuple[str, ...] = ()
    """Hosts that were overtaken in the ring."""
    dead_hosts: tuple[str, ...] = ()
    """Hosts that ended."""
    unreachable: int = 0
    """Agents on other nodes of a cluster that did not answer in time, or are lost: nobody knows what they have seen."""
    unreachable_nodes: tuple[str, ...] = ()
    """Names of these nodes."""

    @property
    def complete(self) -> bool:
        """Whether no agent is lagging, lost, dead or unreachable."""
        return not (self.lagging or self.lost or self.dead or self.unreachable)


class AgentReceipt(msgspec.Struct, eq=False, gc=False):
    """Receipt of one broadcast. Awaiting it waits until the message is in the ring; `settled` asks who has seen it."""

    _receipt: Receipt
    _session: "Session"

    def __await__(self) -> Generator[Any, None, "AgentReceipt"]:
        try:
            yield from self._receipt.__await__()
        except BusError as error:
            raise self._session.error(error, self._receipt.topic, "broadcast") from None
        return self

    async def settled(self, within: float = 1.0) -> Seen:
        """Wait until each listening agent has seen the message or never will; `within`: at most so many seconds.

        A time that runs out is no error: agents that have not seen the message are lagging.
        """
        check_time(within)
        ends = time.monotonic() + within
        members: Settled = await self._receipt.settled(within)
        published, since = self._receipt.published, self._session.hosts_since
        hosts = {
            member: host for member, host in self._session.hosts.items() if since.get(member, 0.0) <= published
        }  # a later one is the successor of one that ended, and has other agents, which did not listen then
        later = since.keys() - hosts.keys()
        behind = {*members.lagging_members, *members.lost_members} - later
        asked = [member for member in hosts if member not in behind]
        answers = await asyncio.gather(*(self._ask(hosts[member], ends) for member in asked))
        late_hosts = [
            hosts[member] for member, answer in zip(asked, answers, strict=True) if answer is None or answer.late
        ]
        known = await self._listeners(ends) if behind or members.dead_members or None in answers else {}
        counts = [answer for answer in answers if answer is not None]
        lost = sum(count.lost for count in counts)
        late = sum(count.late for count in counts)
        agents = sum(count.agents for count in counts)
        silent = sum(known.get(member, 0) for member, answer in zip(asked, answers, strict=True) if answer is None)

        def name(member: str) -> str:
            return hosts.get(member, member).removeprefix(HOST)

        return Seen(
            seen=agents - late - lost,
            lagging=late
            + silent
            + sum(known.get(member, 0) for member in members.lagging_members if member not in later),
            lost=lost + sum(known.get(member, 0) for member in members.lost_members if member not in later),
            dead=sum(known.get(member, 0) for member in members.dead_members) + sum(count.dead for count in counts),
            failed=sum(count.failed for count in counts),
            lagging_hosts=tuple(
                sorted(
                    {*map(name, behind & {*members.lagging_members}), *(host.removeprefix(HOST) for host in late_hosts)}
                )
            ),
            lost_hosts=tuple(name(member) for member in members.lost_members if member not in later),
            dead_hosts=tuple(map(name, members.dead_members)),
            unreachable=sum(count.unreachable for count in counts),
            unreachable_nodes=tuple(sorted({node for count in counts for node in count.unreachable_nodes})),
        )

    async def _ask(self, host: str, ends: float) -> HostSettled | None:
        """Ask a host how far its agents are; None where it does not answer."""
        within = max(0.0, ends - time.monotonic())
        receipt = self._receipt
        order = SettledOrder(self._session.bus.id, receipt.seq, receipt.topic, within, receipt.published)
        try:
            reply = await self._session.bus.ask(host, Encoded(encode(order)), topic="settled", within=within + _MARGIN)
        except BusError:
            return None
        answer: HostSettled = _decode(reply.raw)
        return answer

    async def _listeners(self, ends: float) -> dict[str, int]:
        """Ask the orchestrator: member -> how many of its agents listen to the topic, or did when it ended."""
        within = max(0.0, ends - time.monotonic()) + _MARGIN
        try:
            reply = await self._session.bus.ask(ORCHESTRATOR, self._receipt.topic, topic="listeners", within=within)
        except BusError:
            return {}
        found: dict[str, int] = _decode_listeners(reply.raw)
        return found
