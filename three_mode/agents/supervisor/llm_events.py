"""Events of the calls that agents make with `self.llm`: hosts send them to the orchestrator while somebody listens."""

import asyncio
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import encode
from three_mode.agents.supervisor.hosts import Hosts
from three_mode.agents.wire.orders import LISTENED_FOR, LLMEventsOrder, host_name
from three_mode.events.hub import ConnectionHub
from transports.bus import BusError, Encoded

if TYPE_CHECKING:
    from three_mode.events.reader import EventReader
    from three_mode.events.values import LLMEvent

_AGAIN = LISTENED_FOR / 3  # seconds until the hosts are told again what is wanted: some of them may be new
_WITHIN = 2.0  # seconds that hosts have to begin


@cache
def _decoder() -> "Callable[[bytes], list[LLMEvent]]":
    from three_mode.events.values import ANY_EVENT  # most orchestrators are never asked for events

    kind: Any = list[ANY_EVENT]
    return msgspec.msgpack.Decoder(kind).decode


class LLMEventCollector:
    """Hub of the events of all agents' calls, which asks the hosts for them while it is listened to."""

    def __init__(self, session: Session, hosts: Hosts) -> None:
        self._session, self._hosts = session, hosts
        self.hub = ConnectionHub(self._changed)
        self._asking: asyncio.Task[None] | None = None

    def reader(self, kinds: Iterable[str] | None, waiting: int) -> "EventReader":
        """A new reader; entering it, or its first wait, waits until all hosts that run send events."""
        from three_mode.events.reader import EventReader

        return EventReader(self.hub, kinds, waiting, ready=self._ask_hosts)

    def received(self, data: bytes) -> None:
        """Publish what a host has sent."""
        for event in _decoder()(data):
            self.hub.publish(event)

    async def close(self) -> None:
        """End all readers."""
        self.hub.close()
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _changed(self) -> None:
        if self.hub.wanted and (self._asking is None or self._asking.done()):
            self._asking = asyncio.get_running_loop().create_task(self._keep_asking())

    async def _keep_asking(self) -> None:
        """Tell the hosts what is wanted, for as long as something is, and once that nothing is."""
        while True:
            await self._ask_hosts()
            if not self.hub.wanted:  # whoever comes after this finds the task done
                return
            await asyncio.sleep(_AGAIN)

    async def _ask_hosts(self) -> None:
        order = Encoded(encode(LLMEventsOrder(tuple(sorted(self.hub.wanted)))))

        async def ask(label: str) -> Any:
            await self._session.bus.ask(host_name(label), order, topic="llm_events", within=_WITHIN)

        outcomes = await asyncio.gather(*(ask(host.label) for host in self._hosts.running), return_exceptions=True)
        for outcome in outcomes:  # a host that does not answer is told again in a while
            if isinstance(outcome, BaseException) and not isinstance(outcome, BusError):
                raise outcome
