"""Channel: calls to one server of gRPC over the HTTP/2 pool. Messages are bytes: whoever calls knows their schemas.

    async with GrpcChannel("grpc://127.0.0.1:50051") as channel:
        reply = await channel.unary("/pkg.Service/Method", request.SerializeToString(), within=5.0)
        async with channel.stream("/pkg.Service/Watch", message) as call:
            async for message in call: ...
        async with channel.bidi("/pkg.Service/Talk", messages()) as call:
            async for message in call: ...

An error that the server sent is a `GrpcError`; what broke on the way is an error of `transports.http2`. A deadline
travels as `grpc-timeout`. Leaving a call resets its stream, which cancels it at the server.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import replace
from functools import lru_cache
from types import TracebackType
from typing import Self

from transports.grpc.addresses import GrpcAddress, read_address
from transports.grpc.calls import GrpcStream, SentCall
from transports.grpc.framing import PREFIX, frame
from transports.grpc.options import ChannelOptions
from transports.grpc.timeouts import write_timeout
from transports.http2 import InvalidRequest, Pool, Request

Metadata = tuple[tuple[bytes, bytes], ...]
NEVER = float("inf")
WORTH_PACKING = 1024  # bytes
_ACCEPTED = (b"grpc-accept-encoding", b"identity,gzip,deflate")
_PACKED = (b"grpc-encoding", b"gzip")


class GrpcChannel:
    """Calls to one server. Opens nothing before the first call; belongs to the event loop of that call."""

    def __init__(self, address: str | GrpcAddress, options: ChannelOptions | None = None) -> None:
        self.options = options = options or ChannelOptions()
        self.address = address = read_address(address) if isinstance(address, str) else address
        if not address.private and not options.insecure:
            raise InvalidRequest(
                f"{address.origin.host} is another machine, and grpc:// is readable on the way to it; use grpcs://, or "
                "ask for it with insecure=True"
            )
        # HTTP/2 without TLS does not go through a proxy, whatever the environment says.
        trust_env = options.pool.trust_env and address.origin.scheme == "https"
        self._pool = Pool(replace(options.pool, protocol="h2", unix_socket=address.unix_socket, trust_env=trust_env))
        self._first: Metadata = (
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
            (b"user-agent", options.user_agent),
            _ACCEPTED,
            *options.metadata,
        )
        # Heads of one shape are one object: the pool keeps their checked and their encoded form.
        self._head = lru_cache(maxsize=256)(self._new_head)

    def __repr__(self) -> str:
        return f"<GrpcChannel to {self.address.unix_socket or self.address.origin}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connections; calls in progress fail."""
        await self._pool.aclose()

    async def warm(self, within: float | None = 10.0) -> None:
        """Opens a connection ahead of the first call, or says why there is none."""
        await self._pool.warm(str(self.address.origin), within=within)

    async def unary(
        self, method: str, message: bytes, *, within: float | None = None, metadata: Metadata = ()
    ) -> bytes:
        """Sends one message and returns the one that answers it."""
        sent = self.send(method, message, until=_until(within), metadata=metadata)
        try:
            return await sent.reply()
        except BaseException:
            sent.cancel()
            raise

    def send(self, method: str, message: bytes, *, until: float = NEVER, metadata: Metadata = ()) -> SentCall:
        """Sends one message now: the first half of `unary`. `until` is a deadline in the loop's time."""
        body, packed = self._framed(message)
        request = self._request(method, until, metadata, packed, body)
        most = self.options.most_bytes
        exchange = self._pool.send(request, timeouts=self.options.timeouts, max_bytes=most + PREFIX.size, until=until)
        return SentCall(exchange, most)

    def stream(
        self,
        method: str,
        message: bytes,
        *,
        within: float | None = None,
        until: float | None = None,
        metadata: Metadata = (),
    ) -> GrpcStream:
        """Sends one message, and reads those that answer it as they come."""
        until = _until(within) if until is None else until
        body, packed = self._framed(message)
        return self._open(self._request(method, until, metadata, packed, body), until)

    def bidi(
        self,
        method: str,
        messages: AsyncIterable[bytes],
        *,
        within: float | None = None,
        until: float | None = None,
        metadata: Metadata = (),
    ) -> GrpcStream:
        """Sends messages as an iterator gives them, and reads those of the server meanwhile. A message waits until the
        one before it is sent, so that a slow server slows the iterator down."""
        until = _until(within) if until is None else until
        return self._open(self._request(method, until, metadata, self.options.compress, self._frames(messages)), until)

    def _open(self, request: Request, until: float) -> GrpcStream:
        call = self._pool.request(request, timeouts=self.options.timeouts, until=until)
        return GrpcStream(call.exchange, self.options.most_bytes)

    def _framed(self, message: bytes) -> tuple[bytes, bool]:
        if self.options.compress and len(message) >= WORTH_PACKING:
            return frame(message, b"gzip"), True
        return frame(message), False

    async def _frames(self, messages: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        async for message in messages:
            yield self._framed(message)[0]

    def _request(
        self, method: str, until: float, metadata: Metadata, packed: bool, body: bytes | AsyncIterable[bytes]
    ) -> Request:
        timeout = None
        if until != NEVER:
            timeout = write_timeout(_coarse(until - asyncio.get_running_loop().time()))
        return Request(
            method=b"POST",
            origin=self.address.origin,
            target=method.encode("ascii"),
            headers=self._head(timeout, metadata, packed),
            body=body,
        )

    def _new_head(self, timeout: bytes | None, metadata: Metadata, packed: bool) -> Metadata:
        head = self._first + metadata
        if timeout is not None:
            head += ((b"grpc-timeout", timeout),)
        return (*head, _PACKED) if packed else head


def _until(within: float | None) -> float:
    return NEVER if within is None else asyncio.get_running_loop().time() + within


def _coarse(seconds: float) -> float:
    """At least so many seconds, and at most a thirtieth more: the caller's own clock is exact, and few different values
    keep the encoded heads of calls few."""
    if seconds <= 0.001:
        return 0.001
    grain = 2.0 ** (int(seconds).bit_length() - 6) if seconds >= 1 else 1 / 64 if seconds > 0.5 else 0.001
    return -(-seconds // grain) * grain
