"""NATS between the nodes of a world: each message comes once or not at all, and those of one sender in order."""

import asyncio
from collections.abc import Callable
from typing import Any

from three_mode.testing.world.here import simulation
from three_mode.testing.world.links import Parts, WorldLink
from transports.nats import NatsOptions, NatsServerInfo

URL = "nats://world:4222"  # of the one server of a world
_LARGEST = 1024 * 1024  # bytes of one message
_ROUND_TRIP = 1e-3  # seconds


class WorldNats:
    """Connection of one node; `transports.nats.NatsConnection` says what each method does."""

    def __init__(
        self,
        options: NatsOptions,
        failed: Callable[[Exception], None] = lambda error: None,
        changed: Callable[[bool], None] = lambda connected: None,
    ) -> None:
        self.options = options
        self._world = simulation()
        self._process, self._subscribers = self._world.running_process(), self._world.subjects
        self._loop = asyncio.get_running_loop()
        self._callbacks: dict[str, Callable[[bytes], None]] = {}
        self._ways: dict[WorldNats, WorldLink] = {}
        self.connected = False

    @property
    def max_payload(self) -> int:
        return _LARGEST

    @property
    def server(self) -> NatsServerInfo:
        return NatsServerInfo("in a world", _LARGEST, False, False)

    @property
    def client(self) -> Any:
        return None

    async def round_trip(self, within: float = 2.0) -> float:
        await asyncio.sleep(_ROUND_TRIP)
        return _ROUND_TRIP

    async def open(self) -> None:
        await asyncio.sleep(_ROUND_TRIP)
        self.connected = True
        self._process.sockets[self] = None

    async def close(self) -> None:
        self._process.sockets.pop(self, None)
        self._leave()

    def cut(self) -> None:
        """End with the process: of what it had sent last, some is lost with it."""
        self._leave()
        for way in self._ways.values():
            way.lose_rest()

    def _leave(self) -> None:
        self.connected = False
        for subject in self._callbacks:
            self._subscribers[subject].remove(self)
        self._callbacks.clear()

    async def subscribe(self, subject: str, callback: Callable[[bytes], None]) -> None:
        self._callbacks[subject] = callback
        self._subscribers[subject].append(self)
        await asyncio.sleep(_ROUND_TRIP)

    def publish(self, subject: str, payload: bytes) -> bool:
        if not self.connected:
            return False
        for receiver in self._subscribers[subject]:
            if self._reaches(receiver):
                way = self._ways.get(receiver)
                if way is None:
                    arrive = receiver.arrives
                    way = self._ways[receiver] = self._world.link(self._process, receiver._process, "nats", arrive)
                if not way.may_lose():
                    way.send([subject.encode(), payload])
        return True

    def _reaches(self, other: "WorldNats") -> bool:
        """Whether the nodes of both hear each other now."""
        until = self._world.weather.cut.get(frozenset((self._process.node, other._process.node)), 0.0)
        return self._world.schedule.time() >= until

    def arrives(self, parts: Parts) -> None:
        """Take a message."""
        subject, payload = parts
        if self.connected:
            self._loop.call_soon(self._took, subject.decode(), payload)

    def _took(self, subject: str, payload: bytes) -> None:
        callback = self._callbacks.get(subject)
        if callback is not None:
            callback(payload)
