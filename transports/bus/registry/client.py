"""Client of the registry: a member's requests, with tokens, and the messages it gets, on the member's event loop."""

import asyncio
import os
from collections.abc import Callable, Sequence

from transports.bus import errors
from transports.bus.errors import BusError, Closed, DeadlineExceeded, JoinFailed
from transports.bus.registry import wire
from transports.bus.registry.connector import RegistryConnection

_BY_CODE: dict[str, type[BusError]] = {
    kind.code: kind
    for kind in (
        errors.NameTaken,
        errors.NoSuchName,
        errors.Overloaded,
        errors.VersionMismatch,
        errors.BadAddress,
        JoinFailed,
    )
}


def refusal(message: wire.RequestRefused) -> BusError:
    """Make the error for a refused request."""
    if message.code == errors.PeerLost.code:
        return errors.PeerLost(message.text, message.member)
    return _BY_CODE.get(message.code, BusError)(message.text)


def _close_answer(future: "asyncio.Future[list[int]]") -> None:
    """Close the descriptors of an answer that came in the turn in which its caller gave up."""
    if future.done() and not future.cancelled() and future.exception() is None:
        for fd in future.result():
            os.close(fd)


class RegistryClient:
    """Connection of one member to the registry.

    `on_message(message, fds)` gets all messages but answers, and owns the descriptors; `on_end(reason)` is called when
    the registry has gone.
    """

    def __init__(
        self,
        connection: RegistryConnection,
        on_message: Callable[[wire.FromRegistry, list[int]], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._on_message, self._on_end = on_message, on_end
        self._waiting: dict[int, asyncio.Future[list[int]]] = {}
        self._token = 0
        self._writing = False
        self.closed = False
        self._loop.add_reader(connection.fileno(), self._readable)
        poll_with = getattr(connection, "poll_with", None)
        if poll_with is not None:
            poll_with(self._readable)

    def send(self, message: wire.FromMember, fds: Sequence[int] = ()) -> None:
        """Send a message; a registry that does not take it has ended."""
        if self.closed:
            raise Closed("the connection to the registry is closed")
        try:
            self._connection.send(wire.pack(message, len(fds)), fds)
        except (OSError, OverflowError) as error:
            self._loop.call_soon(self._broken, f"the registry cannot be told anything: {error}")
            return
        if self._connection.pending and not self._writing:
            self._writing = True
            self._loop.add_writer(self._connection.fileno(), self._writable)

    def token(self) -> tuple[int, asyncio.Future[list[int]]]:
        """Return a token for a new request, and the future of its answer."""
        self._token += 1
        future: asyncio.Future[list[int]] = self._loop.create_future()
        self._waiting[self._token] = future
        return self._token, future

    async def ask(
        self, make: Callable[[int], wire.FromMember], fds: Sequence[int] = (), within: float = 5.0
    ) -> list[int]:
        """Send a request, and return the descriptors of its answer; a refusal is raised. `fds` are not closed."""
        token, future = self.token()
        try:
            self.send(make(token), fds)
        except BaseException:
            del self._waiting[token]
            raise
        return await self.answer(token, future, within)

    async def answer(self, token: int, future: "asyncio.Future[list[int]]", within: float) -> list[int]:
        """Wait for the answer to a token; DeadlineExceeded after `within` seconds."""
        try:
            async with asyncio.timeout(within):
                return await future
        except TimeoutError:
            _close_answer(future)
            raise DeadlineExceeded(f"the registry did not answer within {within:g} s") from None
        except asyncio.CancelledError:
            _close_answer(future)
            raise
        finally:
            self._waiting.pop(token, None)

    def _readable(self) -> None:
        if self.closed:
            return
        try:
            for body, fds in self._connection.receive():
                message = wire.from_registry(body)
                if self._connection.scarce:
                    self._handle_without_files(message)
                elif isinstance(message, wire.Done):
                    future = self._waiting.pop(message.token, None)
                    if future is not None and not future.done():
                        future.set_result(fds)
                    else:
                        for fd in fds:
                            os.close(fd)
                elif isinstance(message, wire.RequestRefused) and message.token:
                    future = self._waiting.pop(message.token, None)
                    if future is not None and not future.done():
                        future.set_exception(refusal(message))
                else:
                    self._on_message(message, fds)
                if self._is_closed():
                    return  # by that message
        except EOFError:
            self._end("the process that hosted it ended")
        except BusError as error:
            self._end(f"it sent garbage: {error}")

    def _handle_without_files(self, message: wire.FromRegistry) -> None:
        """Fail the request whose answer had no room in this process; without other messages it is no member."""
        text = f"this process (pid {os.getpid()}) may open no more files: raise its RLIMIT_NOFILE"
        future = self._waiting.pop(message.token, None) if isinstance(message, wire.Done) else None
        if future is None:
            self._end(text)
        elif not future.done():
            future.set_exception(errors.Overloaded(text))

    def _is_closed(self) -> bool:
        return self.closed

    def _writable(self) -> None:
        try:
            self._connection.flush()
        except OSError as error:
            self._broken(f"its connection broke: {error}")
            return
        if not self._connection.pending:
            self._writing = False
            self._loop.remove_writer(self._connection.fileno())

    def _broken(self, reason: str) -> None:
        """End after what the registry had sent before: rings that it handed over would be lost."""
        self._readable()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if not self.closed:
            self.close()
            self._on_end(reason)

    def close(self) -> None:
        """Close the connection; requests without an answer fail with Closed."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Closed("the connection to the registry closed before it answered"))
                future.exception()  # mark it as retrieved: without a waiter, the loop is not to warn of it

    def close_after_fork(self) -> None:
        """Close the connection in the child of a fork, without touching the parent's event loop."""
        self.closed = True
        self._connection.close_after_fork()
