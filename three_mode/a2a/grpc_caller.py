"""Calls of an agent over gRPC: a channel on the pool, and messages of the protocol. It needs the extra `grpc`."""

import asyncio
from dataclasses import replace
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from three_mode.a2a import protobuf
from three_mode.a2a.card import AgentInterface
from three_mode.a2a.values import VERSION, VERSION_HEADER, StreamResponse, Value
from three_mode.channels.channel import too_large
from three_mode.channels.grpc_options import GRPCOptions, grpc_beside
from three_mode.errors import ConfigurationError, InvalidRequest, LLMError, ThreeModeError
from three_mode.providers.codec import Headers
from transports.grpc import ChannelOptions, GrpcChannel, GrpcError, GrpcStream
from transports.http2 import InvalidRequest as BadAddress
from transports.http2 import TimedOut, TransportError

Result = TypeVar("Result")


class GrpcClient(Protocol):
    """The client that the calls are of."""

    name: str
    options: Any

    def failure(self, error: TransportError | GrpcError, within: float) -> ThreeModeError: ...
    def bad(self, what: str) -> LLMError: ...


class GrpcCaller:
    """Calls at one interface of a card. A deadline goes to the server with each of them."""

    def __init__(self, client: GrpcClient, interface: AgentInterface, headers: Headers, insecure: bool) -> None:
        """`insecure`: whether another machine may be called without TLS, as the card was read."""
        self._client, self._tenant = client, interface.tenant
        pool = replace(client.options.pool, ping_every=GRPCOptions().keepalive)
        version = (VERSION_HEADER.encode(), VERSION.encode())
        options = ChannelOptions(
            pool=pool, metadata=(version, *headers), insecure=insecure, most_bytes=client.options.reply_bytes
        )
        try:
            self._channel = GrpcChannel(interface.url, options)
        except BadAddress as error:
            raise ConfigurationError(f"{client.name}: {error}", hint="the address is that of its card") from None

    async def call(self, method: str, parameters: Value, kind: type[Result], until: float, within: float) -> Result:
        """What a method answers."""
        message = self._message(method, parameters)
        left = until - asyncio.get_running_loop().time()
        try:
            data = await self._channel.unary(protobuf.path_of(method), message, within=left)
        except (TransportError, GrpcError) as error:
            raise self._client.failure(error, within) from None
        return _read(self._client, method, kind, data)

    def open(self, method: str, parameters: Value, until: float) -> "GrpcEvents":
        """The events of a method that streams."""
        call = self._channel.stream(protobuf.path_of(method), self._message(method, parameters), until=until)
        return GrpcEvents(self._client, method, call)

    async def close(self) -> None:
        """Closes the connections."""
        await self._channel.close()

    def _message(self, method: str, parameters: Value) -> bytes:
        if self._tenant is not None:
            parameters = msgspec.structs.replace(parameters, tenant=self._tenant)
        try:
            return protobuf.write_call(method, parameters)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidRequest(f"{self._client.name}: what is asked cannot be sent over gRPC: {error}") from None


class GrpcEvents:
    """Messages of one stream."""

    def __init__(self, client: GrpcClient, method: str, call: GrpcStream) -> None:
        self._client, self._method, self._call = client, method, call
        self._bytes = 0
        self.ended = False

    async def start(self) -> list[StreamResponse]:
        """Sends the request. Its answer begins with the first event."""
        self._call.send()
        return []

    async def more(self) -> list[StreamResponse]:
        """The next events, as many as have come."""
        messages, most = await self._call.more(), self._client.options.reply_bytes
        self.ended = not messages
        self._bytes += sum(map(len, messages))
        if self._bytes > most:
            self._call.cancel()
            raise too_large(self._client.name, None, most)
        return [_read(self._client, self._method, StreamResponse, message) for message in messages]

    def give_up(self, error: TimedOut) -> None:
        """Whoever waits for events gets this error."""
        self._call.exchange.give_up(error)

    def close(self) -> None:
        """Ends the stream at the server."""
        self._call.cancel()


def address_of(url: str, card_url: str) -> str:
    """The address that a card has for gRPC: a URL, or HOST:PORT as many cards have it, with TLS if the card came so."""
    if "://" not in url:
        return f"{'grpcs' if urlsplit(card_url).scheme == 'https' else 'grpc'}://{url}"
    return grpc_beside(url) if url.lower().startswith(("http://", "https://")) else url


def _read(client: GrpcClient, method: str, kind: type[Result], data: bytes) -> Result:
    try:
        return protobuf.read_answer(method, kind, data)
    except (ValueError, RecursionError) as error:
        raise client.bad(f"its answer does not follow the protocol: {error}") from None
