"""Events of the calls that agents make with `self.llm`: hosts send them to the orchestrator while somebody listens."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.supervisor.asked_hosts import AskedHosts
from three_mode.agents.supervisor.hosts import Hosts
from three_mode.events.hub import ConnectionHub

if TYPE_CHECKING:
    from three_mode.events.reader import EventReader
    from three_mode.events.values import LLMEvent


@cache
def _decoder() -> "Callable[[bytes], list[LLMEvent]]":
    from three_mode.events.values import ANY_EVENT  # most orchestrators are never asked for events

    kind: Any = list[ANY_EVENT]
    return msgspec.msgpack.Decoder(kind).decode


class LLMEventCollector:
    """Hub of the events of all agents' calls, which asks the hosts for them while it is listened to."""

    def __init__(self, session: Session, hosts: Hosts) -> None:
        self._asked = AskedHosts(session, hosts, "llm_events", lambda: self.hub.wanted)
        self.hub = ConnectionHub(self._asked.changed)

    def reader(self, kinds: Iterable[str] | None, waiting: int) -> "EventReader":
        """A new reader; entering it, or its first wait, waits until all hosts that run send events."""
        from three_mode.events.reader import EventReader

        return EventReader(self.hub, kinds, waiting, ready=self._asked.ask)

    def received(self, data: bytes) -> None:
        """Publish what a host has sent."""
        for event in _decoder()(data):
            self.hub.publish(event)

    async def close(self) -> None:
        """End all readers."""
        self.hub.close()
        await self._asked.close()
