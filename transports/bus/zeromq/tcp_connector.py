"""Registry over tcp: a ROUTER in a thread of the member that could bind the endpoint, and a DEALER at each member.

CURVE keys say who may join; without keys only loopback is served. File descriptors do not travel over tcp, so there are
no rings. When the host dies, the next member that can bind the same endpoint hosts the registry.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import zmq
from zmq.utils.monitor import parse_monitor_message

from transports.bus.errors import BadFrame, BusError, JoinFailed
from transports.bus.events import MemberInfo
from transports.bus.options import BusOptions, Curve
from transports.bus.registry import wire
from transports.bus.registry.pacing import ChangePacing
from transports.bus.registry.seats import Seat, Shards
from transports.bus.registry.server import GRACE
from transports.bus.registry.state import RegistryState
from transports.bus.zeromq.security import authenticate, check_endpoint

log = logging.getLogger("three_mode.bus.registry")
_SWEEP = 0.2  # seconds between two searches for broken connections
_POLL = 0.05  # seconds between two polls of a connection
_HEARTBEAT_MS, _HEARTBEAT_WITHIN_MS = 1000, 4000
_PING = b""
_CONNECTIONS = 2048  # open at once


def _prepare(socket: "zmq.Socket[bytes]", curve: Curve | None, server: bool) -> None:
    socket.setsockopt(zmq.LINGER, 200)
    socket.setsockopt(zmq.MAXMSGSIZE, wire.MESSAGE_LIMIT + 64)
    socket.setsockopt(zmq.HEARTBEAT_IVL, _HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, _HEARTBEAT_WITHIN_MS)
    if curve is not None:
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public.encode())
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret.encode())
        if server:
            socket.setsockopt(zmq.CURVE_SERVER, 1)
        else:
            socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server.encode())


class RouterServer:
    """Registry of one bus, in a thread behind a ROUTER; `RegistryServer` is the same behind a Unix socket."""

    def __init__(self, right: "BoundRouter", bus: str, carrier: str, layout: int, shards: Shards) -> None:
        self._right = right
        self._socket = right.socket
        self._seats: dict[bytes, Seat] = {}
        self._identities: dict[Seat, bytes] = {}
        self._gone: list[Seat] = []
        self._stopping = False
        self._grace_until = 0.0
        self._pace = ChangePacing()
        self.dropped = 0
        self.state = RegistryState(bus, carrier, layout, shards, self._send)
        self._thread = threading.Thread(target=self._run, name=f"bus-registry-{bus}", daemon=True)

    def start(self, known: Sequence[MemberInfo], after_a_death: bool) -> None:
        """Start the thread. `known`: members of the registry before this one, as far as this process knows them."""
        self.state.expect(known)
        if known:
            self._grace_until = time.monotonic() + 2 * GRACE
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping = True
        self._thread.join(2.0)

    @property
    def alone(self) -> bool:
        """Whether no member is left."""
        return not self.state.members

    def close_after_fork(self) -> None:
        """Do nothing: ZeroMQ closes the descriptors of a context in a forked child when that ends."""

    def _run(self) -> None:
        swept = 0.0
        try:
            while not self._stopping:
                if self._socket.poll(self._patience_ms()):
                    for _ in range(256):
                        try:
                            parts = self._socket.recv_multipart(zmq.NOBLOCK)
                        except zmq.Again:
                            break
                        self._serve(parts)
                now = time.monotonic()
                if now - swept > _SWEEP:
                    swept = now
                    for seat in list(self._identities):
                        self._send(seat, _PING, ())
                if self._grace_until and now >= self._grace_until:
                    self._grace_until = 0.0
                    self.state.forget_expected()
                    self.state.free_places()
                if self.state.waits:
                    self.state.expire(now)
                if self.state.unannounced and not self._pace.wait(now):
                    self.state.announce()
                    self._pace.sent(now, time.monotonic(), self.state.members)
                else:
                    self.state.answer()
                self._drop_gone()
            self.state.flush()
        except Exception:
            log.exception("the registry stopped")
        finally:
            self.state.close()
            self._right.close()

    def _patience_ms(self) -> int:
        wait = self._pace.wait(time.monotonic()) if self.state.unannounced else _SWEEP / 2
        return int(1000 * min(wait, _SWEEP / 2)) + (wait > 0)

    def _serve(self, parts: list[bytes]) -> None:
        identity = parts[0]
        seat = self._seats.get(identity)
        if seat is None:
            if len(self._seats) >= _CONNECTIONS:
                self.dropped += 1
                return
            seat = self._seats[identity] = Seat()
            self._identities[seat] = identity
        try:
            if len(parts) != 2 or len(parts[1]) < wire.HEADER.size:
                raise BadFrame("a registry message is one part")
            message = wire.from_member(parts[1][wire.HEADER.size :])
            self.state.handle(seat, message, [])
            if isinstance(message, wire.Bye):
                self._forget(seat)
        except BusError as error:
            self.dropped += 1
            log.warning("the registry drops a member: it sent what it must not: %s", error)
            self.state.answer()
            self.state.gone(seat, f"it sent what it must not: {error}")
            self._forget(seat)
        except Exception as error:  # not foreseen: it ends the member whose message it was, not the registry
            self.dropped += 1
            log.exception("the registry failed at a message")
            self.state.gone(seat, f"its message made the registry fail: {error!r}")
            self._forget(seat)

    def _send(self, seat: Seat, data: bytes, fds: Sequence[int]) -> None:
        identity = self._identities.get(seat)
        if identity is None:
            return
        try:
            self._socket.send_multipart([identity, data], zmq.NOBLOCK)
        except zmq.Again:
            self._gone.append(seat)  # it does not read
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._gone.append(seat)

    def _drop_gone(self) -> None:
        while self._gone:
            gone, self._gone = self._gone, []
            for seat in gone:
                if seat in self._identities:
                    self._forget(seat)
                    self.state.gone(seat, "its connection ended")
            self.state.answer()

    def _forget(self, seat: Seat) -> None:
        identity = self._identities.pop(seat, None)
        if identity is not None:
            del self._seats[identity]


class BoundRouter:
    """A ROUTER that is bound to the endpoint, which is the right to host."""

    def __init__(self, endpoint: str, curve: Curve | None) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        _prepare(self.socket, curve, server=True)
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.socket.setsockopt(zmq.SNDHWM, 10_000)
        self._authenticator = authenticate(self.context, curve)
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError:
            self.close()
            raise

    def close(self) -> None:
        """Free the endpoint."""
        self.socket.close()
        if self._authenticator is not None:
            self._authenticator.stop()
        self.context.term()


class DealerConnection:
    """Connection of a member to the registry. It ends when ZeroMQ reports that the connection broke."""

    scarce = False  # no descriptors travel over tcp

    def __init__(self, endpoint: str, curve: Curve | None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        _prepare(self._socket, curve, server=False)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        self._socket.connect(endpoint)
        self._loop = asyncio.get_running_loop()
        self._readable: Callable[[], None] | None = None
        self._closed = False

    @property
    def pending(self) -> bool:
        """Whether any message waits: never, for ZeroMQ queues them."""
        return False

    def fileno(self) -> int:
        """Return the socket's descriptor, which is edge-triggered."""
        descriptor = self._socket.getsockopt(zmq.FD)
        assert isinstance(descriptor, int)
        return descriptor

    def poll_with(self, readable: Callable[[], None]) -> None:
        """Call `readable` often: a send may consume the edge of a message, and the monitor has another descriptor."""
        self._readable = readable
        self._poll()

    def _poll(self) -> None:
        if not self._closed and self._readable is not None:
            self._loop.call_later(_POLL, self._poll)
            self._readable()

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send a message; OverflowError if the registry does not read."""
        try:
            self._socket.send(data, zmq.NOBLOCK)
        except zmq.Again:
            raise OverflowError("the registry does not read") from None
        if self._readable is not None:
            self._loop.call_soon(self._readable)

    def flush(self) -> None:
        """Do nothing: ZeroMQ sends what it queues."""

    def receive(self) -> Iterator[tuple[bytes, list[int]]]:
        """Yield messages, without descriptors; EOFError once the connection broke."""
        while not self._closed:
            try:
                raw = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            for body in wire.bodies(raw):  # none in a ping
                yield body, []
        if not self._closed and self._monitor.poll(0):
            parse_monitor_message(self._monitor.recv_multipart())
            raise EOFError

    def close(self) -> None:
        """Close the socket; a thread waits for ZeroMQ to send what it queues."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        threading.Thread(target=self._context.term, daemon=True).start()

    def close_after_fork(self) -> None:
        """Use the socket no more in the child of a fork."""
        self._closed = True


class TcpConnector:
    """Way to the registry of a bus at a tcp endpoint."""

    sees_processes = False

    def __init__(self, bus: str, options: BusOptions) -> None:
        check_endpoint(options)
        self._bus, self._endpoint, self._curve = bus, options.endpoint, options.curve
        self._pid = os.getpid()

    async def connect(
        self, create: bool, deadline: float, host: Callable[[BoundRouter], None], newcomer: bool
    ) -> DealerConnection:
        """Connect to the endpoint; bind it first, if it is free."""
        if create:
            try:
                host(BoundRouter(self._endpoint, self._curve))
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EADDRINUSE, zmq.EADDRNOTAVAIL):
                    raise JoinFailed(f"{self._endpoint} cannot be bound: {error}") from None
        return DealerConnection(self._endpoint, self._curve)

    def serve(self, right: BoundRouter, carrier: str, layout: int, shards: Shards) -> RouterServer:
        """Make the registry behind the endpoint."""
        return RouterServer(right, self._bus, carrier, layout, shards)

    def after_a_death(self, right: BoundRouter) -> bool:
        """Return False: only a host that was a member before knows the others, and it passes them to `start`."""
        return False

    def release(self, right: BoundRouter, alone: bool) -> None:
        """Do nothing: the server's thread frees the endpoint."""

    def leave_place(self, slot: int, member: str) -> None:
        """Do nothing: over tcp there is no table of places."""

    def release_unhosted(self) -> None:
        """Do nothing: an endpoint is freed with its process."""
