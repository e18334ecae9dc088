"""Sockets of the bus between the processes of a world, in place of ZeroMQ's: PUB, SUB, PULL, and a PUSH to each member.

What is published may be lost, and is repaired by the carrier; what is pushed comes, in order, unless a process ends.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from three_mode.testing.world.here import simulation
from three_mode.testing.world.links import Parts, WorldLink

HIGH_WATER = 1000  # messages that a socket queues; with more, PUB drops and PUSH refuses


class WorldSockets:
    """Sockets of one member; `transports.bus.zeromq.sockets.Sockets` says what each method does."""

    def __init__(
        self,
        bind: str,
        curve: Any,
        published: Callable[[list[bytes]], None],
        received: Callable[[list[bytes]], None],
        batch: int,
    ) -> None:
        self._world = world = simulation()
        self._process = process = world.running_process()
        self._loop, self._batch = asyncio.get_running_loop(), batch
        self._published, self._received = published, received
        self.endpoints = {"pub": f"{bind}p", "pull": f"{bind}d"}
        self.closed = self.paused = False
        self._listening = False
        self._sub: deque[list[bytes]] = deque()
        self._pull: deque[tuple[list[bytes], _Push]] = deque()
        self._soon: set[str] = set()
        self._subscribers: dict[WorldSockets, WorldLink] = {}
        self._wanted: dict[WorldSockets, bool] = {}  # subscriber -> whether it wants what is published
        self._followed: dict[str, tuple[str, WorldLink]] = {}  # member -> endpoint, and the way of subscriptions to it
        self._pushes: dict[str, _Push] = {}
        self._was_pushed: dict[str, None] = {}
        process.sockets[self] = None
        for endpoint in self.endpoints.values():
            world.endpoints[endpoint] = self

    # reading ----------------------------------------------------------------------------------------------------------
    def _read_sub(self) -> None:
        self._soon.discard("sub")
        for _ in range(self._batch):
            if self.closed or self.paused or not self._sub:
                return
            self._published(self._sub.popleft())
        self._read("sub")

    def _read_pull(self) -> None:
        self._soon.discard("pull")
        for _ in range(self._batch):
            if self.closed or not self._pull:
                return
            parts, way = self._pull.popleft()
            way.waiting -= 1
            self._received(parts)
        self._read("pull")

    def _read(self, which: str) -> None:
        if which not in self._soon and not self.closed:
            self._soon.add(which)
            self._loop.call_soon(self._read_sub if which == "sub" else self._read_pull)

    def read_soon(self, socket: Any = None) -> None:
        self._read("sub")
        self._read("pull")

    def pause(self, on: bool) -> None:
        self.paused = on
        if not on:
            self._read("sub")

    def listen(self, on: bool) -> None:
        self._listening = on
        for _, way in self._followed.values():
            way.send([b"1" if on else b"0"])

    def follow(self, member: str, endpoint: str, key: str) -> None:
        if member in self._followed:
            return
        publisher = self._world.endpoints.get(endpoint)
        if publisher is None:
            return  # its process has ended, and the registry says so soon
        way = self._world.link(
            self._process, publisher._process, "subscribe", lambda parts: publisher._wants(self, parts)
        )
        self._followed[member] = endpoint, way
        way.send([b"1" if self._listening else b"0"])

    def forget(self, member: str) -> None:
        found = self._followed.pop(member, None)
        if found is not None:
            found[1].send([b"-"])
        push = self._pushes.pop(member, None)
        if push is not None:
            push.link.drop()

    # writing ----------------------------------------------------------------------------------------------------------
    def _wants(self, subscriber: "WorldSockets", parts: Parts) -> None:
        """Take a subscription that has come here, or its end."""
        if self.closed or subscriber.closed or parts[0] == b"-":
            self._subscribers.pop(subscriber, None)
            self._wanted.pop(subscriber, None)
            return
        self._wanted[subscriber] = parts[0] == b"1"
        if subscriber not in self._subscribers:
            self._subscribers[subscriber] = self._world.link(
                self._process, subscriber._process, "published", subscriber._comes_published
            )

    def _comes_published(self, parts: Parts) -> None:
        if self._listening and not self.closed and len(self._sub) < 2 * HIGH_WATER:
            self._sub.append(list(parts))
            self._read("sub")

    def publish(self, parts: Sequence[bytes]) -> None:
        for subscriber, way in self._subscribers.items():
            if self._wanted[subscriber] and not way.may_lose():
                way.send(parts)

    def push(self, member: str, endpoint: str, key: str, parts: Sequence[bytes]) -> bool:
        push = self._pushes.get(member)
        if push is None:
            receiver = self._world.endpoints.get(endpoint)
            if receiver is None:
                return False
            push = self._pushes[member] = _Push(self, receiver)
            self._was_pushed[member] = None
        if push.waiting >= 2 * HIGH_WATER:
            return False
        push.waiting += 1
        push.link.send(parts)
        return True

    def comes_pushed(self, parts: Parts, way: "_Push") -> None:
        """Take a frame that was pushed here."""
        if not self.closed:
            self._pull.append((list(parts), way))
            self._read("pull")

    @property
    def receivers(self) -> list[str]:
        return list(self._pushes)

    # end --------------------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Close in order: what was sent still arrives."""
        self.closed = True
        self._process.sockets.pop(self, None)
        self._unbind()

    def term(self) -> None:
        """Do nothing: the links of a world carry on by themselves."""

    def cut(self) -> None:
        """End with the process, which was killed: of what it had sent last, some is lost with it."""
        self.closed = True
        self._unbind()
        for way in [*self._subscribers.values(), *(push.link for push in self._pushes.values())]:
            way.lose_rest()

    def _unbind(self) -> None:
        for endpoint in self.endpoints.values():
            self._world.endpoints.pop(endpoint, None)


class _Push:
    """A PUSH socket and its way to another member."""

    def __init__(self, sender: WorldSockets, receiver: WorldSockets) -> None:
        self.waiting = 0  # frames that are under way, or wait there to be read
        self.link = sender._world.link(
            sender._process, receiver._process, "pushed", lambda parts: receiver.comes_pushed(parts, self)
        )
