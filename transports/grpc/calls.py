"""Calls that are out: one whose single message is awaited, and one whose messages are read as they come."""

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from transports.grpc.framing import Unframer
from transports.grpc.outcome import OK_TRAILER, check_head, error_in, error_of_reset
from transports.grpc.status import GrpcError, GrpcStatus
from transports.http2 import Exchange, LimitExceeded, PeerMisbehaved, StreamReset

Fields = Iterable[tuple[bytes, bytes]]


class _Call:
    """What both kinds of calls tell of their exchange."""

    __slots__ = ("_exchange", "_most")

    def __init__(self, exchange: Exchange, most: int) -> None:
        self._exchange, self._most = exchange, most

    @property
    def spoke(self) -> bool:
        """Whether the server has answered at all."""
        return bool(self._exchange.status)

    @property
    def headers(self) -> Fields:
        """Metadata that came before the messages."""
        return self._exchange.headers

    @property
    def trailers(self) -> Fields:
        """Metadata that came after them; empty until the end."""
        return self._exchange.trailers

    def cancel(self) -> None:
        """Ends the call at the server, if it has not ended. Never waits."""
        self._exchange.cancel()


class SentCall(_Call):
    """A unary call that is out. Its holder awaits the message or cancels it."""

    __slots__ = ()

    async def reply(self) -> bytes:
        """Waits for the message."""
        exchange = self._exchange
        try:
            body = await exchange.whole()
        except StreamReset as error:
            raise _ended_by_reset(error, exchange) from None
        encoding = check_head(exchange.status, exchange.headers)
        if OK_TRAILER not in exchange.trailers:
            said = error_in(exchange.trailers or exchange.headers)
            if said is not None:
                raise said
        messages = _unframe(_unframer(encoding, self._most), body, ended=True)
        if len(messages) != 1:
            raise PeerMisbehaved(f"one message answers this call, and {len(messages)} came")
        return messages[0]


class GrpcStream(_Call):
    """A call whose messages come one after another: `async with` sends it, and leaving the block ends it."""

    __slots__ = ("_ended", "_ready", "_sent", "_unframer")

    def __init__(self, exchange: Exchange, most: int) -> None:
        super().__init__(exchange, most)
        self._unframer: Unframer | None = None
        self._ready: list[bytes] = []
        self._sent = self._ended = False

    def __del__(self) -> None:
        # Dropped without `async with`: the server must not go on for nobody.
        exchange = self._exchange
        if self._sent and not exchange.done and not exchange.loop.is_closed():
            exchange.loop.call_soon_threadsafe(exchange.cancel)

    def send(self) -> None:
        """Sends the request, if it is not out yet. Whoever sends a call reads it to its end or cancels it."""
        if not self._sent:
            self._sent = True
            self._exchange.pool.submit(self._exchange)

    async def start(self) -> None:
        """Sends the request, and waits for the head of the answer. A server may wait for messages before it answers."""
        self.send()
        exchange = self._exchange
        try:
            await exchange.head()
            self._unframer = _unframer(check_head(exchange.status, exchange.headers), self._most)
        except StreamReset as error:
            raise _ended_by_reset(error, exchange) from None
        except BaseException:
            self.cancel()
            raise

    async def more(self) -> list[bytes]:
        """The next messages, as many as have come; [] at the end. An error is raised after the messages before it."""
        if self._unframer is None:
            await self.start()
        assert self._unframer is not None
        exchange = self._exchange
        while not self._ended:
            try:
                data = await exchange.chunk()
            except StreamReset as error:
                raise _ended_by_reset(error, exchange) from None
            if data:
                try:
                    messages = _unframe(self._unframer, data)
                except BaseException:
                    self.cancel()
                    raise
                if messages:
                    return messages
                continue
            self._ended = True
            if OK_TRAILER not in exchange.trailers:
                said = error_in(exchange.trailers or exchange.headers)
                if said is not None:
                    raise said
            _unframe(self._unframer, b"", ended=True)
        return []

    @property
    def exchange(self) -> Exchange:
        """The exchange of HTTP/2 below it."""
        return self._exchange

    async def __aenter__(self) -> Self:
        self.send()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._ready:
            self._ready = await self.more()
            if not self._ready:
                raise StopAsyncIteration
            self._ready.reverse()
        return self._ready.pop()


def _unframer(encoding: bytes, most: int) -> Unframer:
    try:
        return Unframer(encoding, most)
    except GrpcError as error:
        raise PeerMisbehaved(f"the answer cannot be read: {error.message}") from None


def _unframe(unframer: Unframer, data: bytes, *, ended: bool = False) -> list[bytes]:
    """The messages in these bytes. What is wrong with them is the server's doing here, and no status that it sent."""
    try:
        messages = unframer.feed(data)
        if ended:
            unframer.end()
    except GrpcError as error:
        if error.status is GrpcStatus.RESOURCE_EXHAUSTED:
            raise LimitExceeded(f"of the answer, {error.message}") from None
        raise PeerMisbehaved(f"the answer cannot be read: {error.message}") from None
    return messages


def _ended_by_reset(error: StreamReset, exchange: Exchange) -> Exception:
    """A status that came before the reset counts: some servers end a refused upload in this way."""
    fields = exchange.trailers or exchange.headers
    if any(name == b"grpc-status" for name, _ in fields):
        return error_in(fields) or error
    return error_of_reset(error)
