"""Events for people who watch `/events`: those of the connection behind the endpoint, and of hosts and agents.

The connection's hub is the one source of what happens to calls; it is listened to only while somebody watches. A reader
that falls behind loses the oldest events and is told how many (`gap`), and no reader slows anybody.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.events.hub import ConnectionHub
from three_mode.events.kinds import (
    ALL,
    GAP,
    KINDS,
    PROVIDER_STATUS_CHANGE,
    PROVIDER_SWITCH,
    RESPONSE_CHUNK,
    RESPONSE_COMPLETE,
    RESPONSE_START,
    chosen,
)
from three_mode.events.queue import EventQueue
from three_mode.events.values import LLMEvent, ResponseComplete
from three_mode.serve import wire_out

__all__ = [
    "AGENTS_JOINED",
    "AGENTS_LEFT",
    "HOST_JOINED",
    "HOST_LOST",
    "PROVIDER_STATUS_CHANGE",
    "PROVIDER_SWITCH",
    "RESPONSE_CHUNK",
    "RESPONSE_COMPLETE",
    "RESPONSE_START",
    "Event",
    "EventHub",
]

AGENTS_JOINED, AGENTS_LEFT, HOST_JOINED, HOST_LOST = (
    "agents_joined",
    "agents_left",
    "host_joined",
    "host_lost",
)


class Event(Struct, frozen=True, omit_defaults=True):
    """One event on the wire; `id` counts per endpoint, so a reader sees what it missed."""

    type: str
    id: int
    at: float
    data: dict[str, Any] = {}


class EventHub:
    """Publishes to every reader. Without readers a publish costs a truth test."""

    def __init__(self, buffer: int = 1024, clock: Callable[[], float] = time.time, kinds: Iterable[str] = ()) -> None:
        """`kinds` are further ones, which a program publishes itself."""
        self._readers: dict[EventQueue[bytes], frozenset[str] | None] = {}
        self._known = [*KINDS, AGENTS_JOINED, AGENTS_LEFT, HOST_JOINED, HOST_LOST, *kinds]
        self._buffer = buffer
        self._clock = clock
        self._count = 0
        self._followed: list[ConnectionHub] = []
        self._leave: list[Callable[[], None]] = []
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._readers)

    def follow(self, hub: ConnectionHub) -> None:
        """Publish the events of a connection, while somebody reads."""
        self._followed.append(hub)
        self._renew()

    def publish(self, kind: str, **data: Any) -> None:
        """An event of the endpoint's own, or of the program. Readers may ask for its kind from then on."""
        self._publish(kind, None, data)

    def open(self, kinds: Iterable[str] | None = None) -> EventQueue[bytes]:
        """A new reader of these kinds; None: of all. A kind that there is not is a ConfigurationError."""
        wanted = None if kinds is None else chosen(kinds, self._known)
        reader: EventQueue[bytes] = EventQueue(self._buffer, _gap)
        self._readers[reader] = wanted
        self._renew()
        return reader

    def close(self, reader: EventQueue[bytes]) -> None:
        """End a reader."""
        if reader in self._readers:
            del self._readers[reader]
            self._renew()

    def _renew(self) -> None:
        """Listen to what somebody wants, and to nothing else."""
        for leave in self._leave:
            leave()
        asked = [ALL if kinds is None else kinds for kinds in self._readers.values()]
        wanted = ALL & frozenset().union(*asked)
        open_hubs = [hub for hub in self._followed if not hub.closed] if wanted else []
        self._leave = [hub.listen(self._pass_on, wanted) for hub in open_hubs]

    def _pass_on(self, event: LLMEvent) -> None:
        self._publish(event.kind, event.time, wire_data(event))

    def _publish(self, kind: str, at: float | None, data: dict[str, Any]) -> None:
        self._count += 1
        if kind not in self._known:
            self._known.append(kind)
        wanting = [reader for reader, kinds in self._readers.items() if kinds is None or kind in kinds]
        if not wanting:
            return
        encoded = msgspec.json.encode(Event(kind, self._count, self._clock() if at is None else at, data))
        for reader in wanting:
            self.dropped += not reader.put(encoded)


def wire_data(event: LLMEvent) -> dict[str, Any]:
    """An event of a connection as the endpoint tells it: a client knows its request by the id and the model's name that
    it has of it."""
    data = event.as_dict()
    del data["type"], data["time"]
    asked = data.pop("asked_as", None)
    if asked is not None:
        data["call_id"], data["request_id"] = event.request_id, asked["id"]
        if "model" in data:
            data["model"] = asked.get("model", "")
    if isinstance(event, ResponseComplete):
        data["usage"] = wire_out.usage(event.usage)
    return data


def _gap(count: int) -> bytes:
    return msgspec.json.encode({"type": GAP, "data": {"count": count}})
