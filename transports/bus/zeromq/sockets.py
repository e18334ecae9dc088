"""The sockets of one member, driven by the event loop through ZeroMQ's edge-triggered descriptors.

An edge says only that something changed: so each wake-up reads until there is nothing more, and whoever stops early comes
back by himself. Nothing is sent on the sockets that are read, so no edge is eaten by a send.
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

HIGH_WATER = 1000  # messages that a socket queues; beyond, PUB drops (and repairs) and PUSH says no
LINGER_MS = 500
_ZERO_COPY_FROM = 65536
_ENDPOINT = re.compile(r"tcp://[^\s/]+:[0-9]{1,5}|ipc://[^\0]{1,107}")


def _descriptor(socket: "zmq.Socket[bytes]") -> int:
    descriptor = socket.getsockopt(zmq.FD)
    assert isinstance(descriptor, int)
    return descriptor


def check_reachable(endpoint: str) -> None:
    """Another member says where it is reached: it may say anything."""
    if not _ENDPOINT.fullmatch(endpoint):
        raise BadFrame(f"{endpoint!r} is no endpoint of a bus: tcp://HOST:PORT or ipc://PATH")


class Sockets:
    def __init__(
        self,
        bind: str,
        curve: Curve | None,
        published: Callable[[list[bytes]], None],
        told: Callable[[list[bytes]], None],
        batch: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._curve = curve
        self._batch = batch
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._authenticator = authenticate(self._context, curve)
        self._connected: dict[str, str] = {}  # member -> its PUB
        self._pushes: dict[str, zmq.Socket[bytes]] = {}
        self._handlers: dict[zmq.Socket[bytes], Callable[[list[bytes]], None]] = {}
        self._soon: set[zmq.Socket[bytes]] = set()
        self._files: list[Path] = []
        self.paused = False
        self.closed = False
        self._pub = self._bound(zmq.PUB, bind, "p")
        self._pull = self._bound(zmq.PULL, bind, "d")
        self._sub = self._socket(zmq.SUB)
        for socket, handler in ((self._sub, published), (self._pull, told)):
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
        self.look_again(socket)

    def look_again(self, socket: "zmq.Socket[bytes] | None" = None) -> None:
        for one in [socket] if socket is not None else list(self._handlers):
            if one not in self._soon and not self.closed:
                self._soon.add(one)
                self._loop.call_soon(self._readable, one)

    def pause(self, on: bool) -> None:
        self.paused = on
        if not on:
            self.look_again(self._sub)

    def listen(self, on: bool) -> None:
        self._sub.setsockopt(zmq.SUBSCRIBE if on else zmq.UNSUBSCRIBE, b"")
        self.look_again(self._sub)

    def follow(self, member: str, endpoint: str, key: str) -> None:
        """Hear what that member publishes."""
        if self._connected.get(member) != endpoint:
            check_reachable(endpoint)
            try:
                self._secure(self._sub, key)
                self._sub.connect(endpoint)
            except (zmq.ZMQError, ValueError) as error:
                raise BadFrame(f"{endpoint!r} cannot be connected to: {error}") from None
            self._connected[member] = endpoint
            self.look_again(self._sub)

    def _secure(self, socket: "zmq.Socket[bytes]", key: str) -> None:
        if self._curve is not None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, key.encode())

    def forget(self, member: str) -> None:
        endpoint = self._connected.pop(member, None)
        if endpoint is not None and not self.closed:
            with contextlib.suppress(zmq.ZMQError):
                self._sub.disconnect(endpoint)
            self.look_again(self._sub)
        push = self._pushes.pop(member, None)
        if push is not None:
            push.close(0)

    # --- writing -----------------------------------------------------------------------------------------------------
    def publish(self, parts: Sequence[bytes]) -> None:
        self._send(self._pub, parts)

    def tell(self, member: str, endpoint: str, key: str, parts: Sequence[bytes]) -> bool:
        """False: its queue is full."""
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
    def told(self) -> list[str]:
        return list(self._pushes)

    def close(self) -> None:
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
        """Waits for what lingers; call it off the loop."""
        if self._authenticator is not None:
            self._authenticator.stop()
        self._context.term()
