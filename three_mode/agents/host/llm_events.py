"""Events of the calls that agents of a host make with `self.llm`, sent to the orchestrator while somebody listens.

The orchestrator says again and again what it wants to hear; a host that hears nothing of it for a while stops.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.wire.orders import ORCHESTRATOR, host_name
from three_mode.events.queue import EventQueue
from transports.bus import BusError, Encoded

if TYPE_CHECKING:
    from three_mode.events.values import LLMEvent

WAITING = 4096  # events that may wait; of more, the oldest are lost and counted
_BATCH = 256  # events in one message
_PAUSE = 0.01  # seconds from an event to the message that it goes in, with those that came meanwhile


class LLMEventForwarder:
    """Listens to the connection of a session, and sends what it hears."""

    def __init__(self, session: Session, label: str) -> None:
        self._session, self._name = session, host_name(label)
        self._queue: EventQueue[LLMEvent] = EventQueue(WAITING, _gap)
        self._kinds: tuple[str, ...] = ()
        self._leave: Callable[[], None] | None = None
        self._sending: asyncio.TimerHandle | None = None
        self._lease: asyncio.TimerHandle | None = None

    def listen(self, kinds: Iterable[str], within: float) -> None:
        """Send events of these kinds for `within` seconds, or until this is called again. No kinds: send none."""
        if self._lease is not None:
            self._lease.cancel()
            self._lease = None
        wanted = tuple(kinds)
        if wanted:
            self._lease = asyncio.get_running_loop().call_later(within, self.listen, (), 0.0)
        if wanted != self._kinds:
            self._kinds = wanted
            self._session.when_llm(self._follow)

    def close(self) -> None:
        """Send what is there, and then nothing more."""
        self.listen((), 0.0)
        self._send()

    def _follow(self, llm: Any) -> None:
        """Listen to the connection, which was made just now or before."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        if self._kinds and not llm.event_hub.closed:
            self._leave = llm.event_hub.listen(self._take, self._kinds)

    def _take(self, event: "LLMEvent") -> None:
        self._queue.put(event)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().call_later(_PAUSE, self._send)

    def _send(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        events = self._queue.take()
        for start in range(0, len(events), _BATCH):
            batch = events[start : start + _BATCH]
            try:
                message = Encoded(msgspec.msgpack.encode(batch))
                self._session.bus.send(ORCHESTRATOR, message, topic="llm_events", sender=self._name)
            except BusError:  # full, or gone: the next message says what is lost
                self._queue.lose(sum(getattr(event, "count", 1) for event in batch))  # a gap stands for several


def _gap(count: int) -> "LLMEvent":
    from three_mode.events.values import EventGap  # once somebody has listened, it is loaded

    return EventGap(time=time.time(), count=count)
