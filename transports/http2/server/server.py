"""The server: it accepts connections, keeps their number within a limit, and ends in good order."""

import asyncio
import errno
import logging
import os
import socket
import stat
from contextlib import suppress
from email.utils import formatdate
from typing import Self

from transports.http2.server.connection import AcceptedConnection
from transports.http2.server.cycle import Application, Cycle, TakesAtOnce
from transports.http2.server.deadlines import DeadlineWheel
from transports.http2.server.h1_connection import H1ServerConnection
from transports.http2.server.known_heads import KnownHeads
from transports.http2.server.lifespan import Lifespan
from transports.http2.server.options import ServerOptions

log = logging.getLogger("three_mode.http2.server")

ACCEPTED_AT_ONCE = 64  # connections, in one turn of the loop
NO_DESCRIPTORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
REST = 0.1  # seconds without accepting where no descriptor is left and no connection can be closed


class Server:
    """Serves an ASGI application: HTTP/1.1, HTTP/2 and WebSockets on one port.

    async with Server(application, ServerOptions(port=8080)):
        ...
    """

    def __init__(self, application: Application, options: ServerOptions | None = None) -> None:
        self.application = application
        self._at_once: TakesAtOnce | None = getattr(application, "at_once", None)
        self.answers_at_once = self._at_once is not None
        self.options = options or ServerOptions()
        self.heads = KnownHeads()
        self.retiring = False
        self.running: set[asyncio.Task[None]] = set()  # of the application
        self.port = 0
        self._sockets: list[socket.socket] = []
        self._connections: set[AcceptedConnection] = set()
        self._idle: dict[AcceptedConnection, None] = {}  # those without a whole request, the longest first
        self._incomplete: dict[Cycle, None] = {}  # requests that are not whole, the oldest first
        self._opening: dict[asyncio.Task[None], socket.socket] = {}  # TLS handshakes, the longest first
        self._shut: set[asyncio.Task[None]] = set()  # handshakes that are ending
        self._all_closed: asyncio.Event | None = None
        self._date = (0, b"")
        self._lifespan = Lifespan(application)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Starts the application's lifespan and listens."""
        self.loop = asyncio.get_running_loop()
        self.wheel = DeadlineWheel(self.loop)
        self._all_closed = asyncio.Event()
        options = self.options
        if options.ssl_context is not None:
            options.ssl_context.set_alpn_protocols(["h2", "http/1.1"])
        await self._lifespan.start()
        try:
            self._listen()
        except OSError:
            await self._lifespan.stop()
            raise

    def _listen(self) -> None:
        options = self.options
        if options.path:
            self._listen_at(options.path)
            return
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, number, _, address in found:
                if self.port and not options.port:
                    address = (address[0], self.port, *address[2:])
                listener = socket.socket(family, kind, number)
                self._sockets.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if options.reuse_port:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.setblocking(False)
                listener.bind(address)
                listener.listen(options.backlog)
                self.port = int(listener.getsockname()[1])
        except OSError:
            self._close_listeners()
            raise
        for listener in self._sockets:
            self.loop.add_reader(listener.fileno(), self._accept, listener)

    def _listen_at(self, path: str) -> None:
        """Listens on a Unix socket, which only this user may open."""
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(os.stat(path).st_mode) and not _somebody_listens(path):
                os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        self._sockets.append(listener)
        listener.setblocking(False)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        except OSError:
            self._close_listeners()
            raise
        finally:
            os.umask(before)
        listener.listen(self.options.backlog)
        self.loop.add_reader(listener.fileno(), self._accept, listener)

    def _close_listeners(self) -> None:
        for listener in self._sockets:
            if self.port or self.options.path:
                self.loop.remove_reader(listener.fileno())
            if self.options.path:
                with suppress(OSError):
                    os.unlink(listener.getsockname())
            listener.close()
        self._sockets.clear()

    def stop_listening(self) -> None:
        """Accepts what has come, and nothing after that: others that listen on a shared port get it."""
        for listener in self._sockets:
            for _ in range(1 + self.options.backlog // ACCEPTED_AT_ONCE):
                self._accept(listener)
        self._close_listeners()

    def retire(self) -> None:
        """Says goodbye to clients: HTTP/2 by GOAWAY, idle connections by closing; what runs goes on.

        New connections are still accepted, for one request each.
        """
        self.retiring = True
        for connection in list(self._connections):
            try:
                connection.retire()
            except Exception:
                log.exception("a connection could not end in good order")
                connection.abort()

    async def close(self) -> None:
        """Stops listening and closes all connections; applications that still run are cancelled after a while."""
        self._close_listeners()
        for accepted in self._opening.values():
            _shut(accepted)
        self.retire()
        if self._connections and self._all_closed is not None:
            self._all_closed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_closed.wait(), self.options.close_within)
        running = list(self.running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=self.options.close_within)
        if self._opening:
            await asyncio.wait(list(self._opening), timeout=self.options.close_within)
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)  # for the loop to close their sockets
        await asyncio.sleep(0)
        self.wheel.close()
        await self._lifespan.stop()

    # Connections

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in NO_DESCRIPTORS:
                    raise
                if not self._make_room():
                    log.warning("no connection is accepted for a while: %s", error)
                    self.loop.remove_reader(listener.fileno())
                    self.loop.call_later(REST, self._accept_again, listener)
                return
            accepted.setblocking(False)
            if len(self._connections) + len(self._opening) >= self.options.connections and not self._make_room():
                accepted.close()
                continue
            task = self.loop.create_task(self._open(accepted))
            self._opening[task] = accepted
            task.add_done_callback(self._opened_or_not)

    def _accept_again(self, listener: socket.socket) -> None:
        if listener in self._sockets:
            self.loop.add_reader(listener.fileno(), self._accept, listener)

    async def _open(self, accepted: socket.socket) -> None:
        options = self.options
        try:
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if options.ssl_context is None:
                await self.loop.connect_accepted_socket(lambda: H1ServerConnection(self), accepted)
            else:
                await self.loop.connect_accepted_socket(
                    lambda: H1ServerConnection(self),
                    accepted,
                    ssl=options.ssl_context,
                    ssl_handshake_timeout=options.head_within,
                    ssl_shutdown_timeout=1.0,
                )
        except OSError:  # also what TLS raises, and of a handshake that was shut
            accepted.close()

    def _opened_or_not(self, task: "asyncio.Task[None]") -> None:
        self._opening.pop(task, None)
        self._shut.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a connection could not be opened", exc_info=task.exception())

    def _make_room(self) -> bool:
        """Closes the connection that has been without a whole request for the longest time."""
        if self._idle:
            oldest = next(iter(self._idle))
            del self._idle[oldest]
            oldest.evict()
            return True
        if self._opening:
            handshake = next(iter(self._opening))
            _shut(self._opening.pop(handshake))
            self._shut.add(handshake)
            return True
        return False

    # The connections' side

    def answer(self, cycle: Cycle) -> None:
        """Hands a request to the application."""
        cycle.begun = True
        if self._at_once is None or not cycle.complete or not self._at_once(cycle):
            cycle.start(self.application)

    def incomplete(self, cycle: Cycle) -> None:
        """A request has begun and is not whole."""
        self._incomplete[cycle] = None
        if len(self._incomplete) > self.options.incomplete:
            oldest = next(iter(self._incomplete))
            del self._incomplete[oldest]
            oldest.carrier.give_up(oldest, "too many requests have begun and are not whole")

    def complete(self, cycle: Cycle) -> None:
        """The request is whole, or over."""
        self._incomplete.pop(cycle, None)

    def opened(self, connection: AcceptedConnection) -> None:
        """The connection has a socket."""
        self._connections.add(connection)

    def closed(self, connection: AcceptedConnection) -> None:
        """The connection's socket is closed."""
        self._connections.discard(connection)
        self._idle.pop(connection, None)
        if not self._connections and self._all_closed is not None:
            self._all_closed.set()

    def busy(self, connection: AcceptedConnection) -> None:
        """The connection has a whole request."""
        self._idle.pop(connection, None)

    def idle(self, connection: AcceptedConnection) -> None:
        """The connection has no whole request."""
        if connection in self._connections:
            self._idle[connection] = None

    def date(self) -> bytes:
        """The time as a header's value."""
        now = int(self.loop.time())
        if self._date[0] != now:
            self._date = (now, formatdate(usegmt=True).encode("ascii"))
        return self._date[1]


def _somebody_listens(path: str) -> bool:
    """Whether a server is at the other end of the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _shut(accepted: socket.socket) -> None:
    """Ends a connection whose handshake is under way: to cancel its task would leave the socket open on uvloop."""
    with suppress(OSError):
        accepted.shutdown(socket.SHUT_RDWR)
