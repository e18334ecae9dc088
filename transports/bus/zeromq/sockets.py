"""Sockets of one member, driven by the event loop through ZeroMQ's edge-triggered descriptors.

An edge says only that something changed. So each wake-up reads until a socket is empty, and a read that stops earlier
is scheduled again. Nothing is sent on the sockets that are read, so no send consumes an edge.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zmq

from transports.bus.errors import BadFrame, JoinFailed
from transports.bus.options import Curve
from transports.bus.zeromq.security import authenticate

HIGH_WATER = 1000  # messages that a socket queues; with more, PUB drops (and repairs) and PUSH refuses
LINGER_MS = 500
_ZERO_COPY_FROM = 65536  # bytes
_ENDPOINT = re.compile(r"tcp://[^\s/]+:[0-9]{1,5}|ipc://[^\0]{1,107}")


def _descriptor(socket: "zmq.Socket[bytes]") -> int:
    descriptor = socket.getsockopt(zmq.FD)
    assert isinstance(descriptor, int)
    return descriptor


def check_reachable(endpoint: str) -> None:
    """Raise BadFrame if what another member gave is no endpoint."""
    if not _ENDPOINT.fullmatch(endpoint):
        raise BadFrame(f"{endpoint!r} is no endpoint of a bus: tcp://HOST:PORT or ipc://PATH")


class Sockets:
    """PUB, SUB, PULL, and a PUSH to each member.

    `published(parts)` handles messages from SUB, `received(parts)` those from PULL; `batch` of them in one turn of the
    loop.
    """

    def __init__(
        self,
        bind: str,
        curve: Curve | None,
        published: Callable[[list[bytes]], None],
        received: Callable[[list[bytes]], None],
        batch: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._curve = curve
        self._batch = batch
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator = authenticate(self._context, curve)
        self._connected: dict[str, str] = {}  # member -> endpoint of its PUB
        self._pushes: dict[str, zmq.Socket[bytes]] = {}
        self._handlers: dict[zmq.Socket[bytes], Callable[[list[bytes]], None]] = {}
        self._soon: set[zmq.Socket[bytes]] = set()
        self._files: list[Path] = []
        self.paused = False
        self.closed = False
        self._pub = self._bound(zmq.PUB, bind, "p")
        self._pull = self._bound(zmq.PULL, bind, "d")
        self._sub = self._socket(zmq.SUB)
        for socket, handler in ((self._sub, published), (self._pull, received)):
            self._handlers[socket] = handler
            self._loop.add_reader(_descriptor(socket), self._readable, socket)
        self.endpoints = {
            "pub": self._pub.getsockopt_string(zmq.LAST_ENDPOINT),
            "pull": self._pull.getsockopt_string(zmq.LAST_ENDPOINT),
        }

    def _socket(self, kind: int, server: bool = False) -> "zmq.Socket[bytes]":
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER)
        socket.setsockopt(zmq.RCVHWM, HIGH_WATER)
        socket.setsockopt(zmq.MAXMSGSIZE, 1 << 31)
        if self._curve is not None:
            socket.setsockopt(zmq.CURVE_PUBLICKEY, self._curve.public.encode())
            socket.setsockopt(zmq.CURVE_SECRETKEY, self._curve.secret.encode())
            if server:
                socket.setsockopt(zmq.CURVE_SERVER, 1)
        return socket

    def _bound(self, kind: int, bind: str, suffix: str) -> "zmq.Socket[bytes]":
        socket = self._socket(kind, server=True)
        address = bind if bind.startswith("tcp:") else f"{bind}{suffix}"
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close(0)
            raise JoinFailed(f"ZeroMQ cannot bind {address}: {error}") from None
        if address.startswith("ipc://"):
            self._files.append(Path(address.removeprefix("ipc://")))
        return socket

    # --- reading -----------------------------------------------------------------------------------------------------
    def _readable(self, socket: "zmq.Socket[bytes]") -> None:
        self._soon.discard(socket)
        handler = self._handlers[socket]
        for _ in range(self._batch):
            if self.closed or (self.paused and socket is self._sub):
                return
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            handler(parts)
        self.read_soon(socket)

    def read_soon(self, socket: "zmq.Socket[bytes] | None" = None) -> None:
        """Read a socket, or all of them, in the next turn of the loop."""
        for due in [socket] if socket is not None else list(self._handlers):
            if due not in self._soon and not self.closed:
                self._soon.add(due)
                self._loop.call_soon(self._readable, due)

    def pause(self, on: bool) -> None:
        """Leave broadcasts unread, or read them again."""
        self.paused = on
        if not on:
            self.read_soon(self._sub)

    def listen(self, on: bool) -> None:
        """Subscribe to all broadcasts, or to none."""
        self._sub.setsockopt(zmq.SUBSCRIBE if on else zmq.UNSUBSCRIBE, b"")
        self.read_soon(self._sub)

    def follow(self, member: str, endpoint: str, key: str) -> None:
        """Receive what a member publishes."""
        if self._connected.get(member) != endpoint:
            check_reachable(endpoint)
            try:
                self._secure(self._sub, key)
                self._sub.connect(endpoint)
            except (zmq.ZMQError, ValueError) as error:
                raise BadFrame(f"{endpoint!r} cannot be connected to: {error}") from None
            self._connected[member] = endpoint
            self.read_soon(self._sub)

    def _secure(self, socket: "zmq.Socket[bytes]", key: str) -> None:
        if self._curve is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, key.encode())

    def forget(self, member: str) -> None:
        """Disconnect from a member."""
        endpoint = self._connected.pop(member, None)
        if endpoint is not None and not self.closed:
            with contextlib.suppress(zmq.ZMQError):
                self._sub.disconnect(endpoint)
            self.read_soon(self._sub)
        push = self._pushes.pop(member, None)
        if push is not None:
            push.close(0)

    # --- writing -----------------------------------------------------------------------------------------------------
    def publish(self, parts: Sequence[bytes]) -> None:
        """Send to all members that receive broadcasts."""
        self._send(self._pub, parts)

    def push(self, member: str, endpoint: str, key: str, parts: Sequence[bytes]) -> bool:
        """Send to one member; False if its queue is full."""
        push = self._pushes.get(member)
        if push is None:
            push = self._socket(zmq.PUSH)
            try:
                self._secure(push, key)
                push.connect(endpoint)
            except (zmq.ZMQError, ValueError):
                push.close(0)
                return False
            self._pushes[member] = push
        return self._send(push, parts)

    @staticmethod
    def _send(socket: "zmq.Socket[bytes]", parts: Sequence[bytes]) -> bool:
        copy = len(parts[-1]) < _ZERO_COPY_FROM
        try:
            socket.send_multipart(parts, zmq.NOBLOCK, copy=copy)
        except zmq.Again:
            return False
        return True

    @property
    def receivers(self) -> list[str]:
        """Members that this one has sent to."""
        return list(self._pushes)

    def close(self) -> None:
        """Close all sockets."""
        self.closed = True
        for socket in self._handlers:
            self._loop.remove_reader(_descriptor(socket))
        sockets: list[Any] = [self._pub, self._pull, self._sub, *self._pushes.values()]
        for socket in sockets:
            socket.close()
        self._pushes.clear()
        for file in self._files:
            file.unlink(missing_ok=True)

    def term(self) -> None:
        """Wait until ZeroMQ has sent what it queues; to be called in another thread than the loop's."""
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()
