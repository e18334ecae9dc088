"""Events of a host on their way to the orchestrator, while somebody listens there: in batches, from a bounded queue.

The orchestrator says again and again what it wants to hear; a host that hears nothing of it for a while stops.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import msgspec

from three_mode.agents.calling.session import Session
from three_mode.agents.wire.orders import ORCHESTRATOR, host_name
from three_mode.events.queue import EventQueue
from transports.bus import BusError, Encoded

T = TypeVar("T")
WAITING = 4096  # events that may wait; of more, the oldest are lost and counted
PAUSE = 0.01  # seconds from an event to the message that it goes in, with those that came meanwhile
_BATCH = 256  # events in one message


class EventForwarder(Generic[T]):
    """Sender of the events of one source. `topic` is that of its messages; `gap(count)` makes the event that says how
    many are lost, which has them in `count`; `follow(kinds)` begins to hear the source for `take`, or ends that."""

    def __init__(
        self,
        session: Session,
        label: str,
        topic: str,
        gap: Callable[[int], T],
        follow: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._session, self._name, self._topic, self._follow = session, host_name(label), topic, follow
        self._queue: EventQueue[T] = EventQueue(WAITING, gap)
        self._kinds: tuple[str, ...] = ()
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
            self._follow(wanted)

    def take(self, event: T) -> None:
        """Send an event, with those that come at once."""
        self._queue.put(event)
        if self._sending is None:
            self._sending = asyncio.get_running_loop().call_later(PAUSE, self._send)

    def close(self) -> None:
        """Send what is there, and then nothing more."""
        self.listen((), 0.0)
        self._send()

    def _send(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        events: list[Any] = self._queue.take()
        for start in range(0, len(events), _BATCH):
            batch = events[start : start + _BATCH]
            try:
                message = Encoded(msgspec.msgpack.encode(batch))
                self._session.bus.send(ORCHESTRATOR, message, topic=self._topic, sender=self._name)
            except BusError:  # full, or gone: the next message says what is lost
                self._queue.lose(sum(getattr(event, "count", 1) for event in batch))  # a gap stands for several
