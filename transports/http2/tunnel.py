"""Tunnel through an HTTP proxy: CONNECT, the proxy's answer, then the bytes of the origin."""

import asyncio
from typing import cast

import h11

from transports.http2.connection import Connection
from transports.http2.errors import ProxyFailed
from transports.http2.proxies import Proxy
from transports.http2.request import Origin

MAX_ANSWER = 16_384


class Tunnel(asyncio.Protocol):
    """Speaks with the proxy until `opened` is done; then keeps the origin's first bytes for the connection."""

    def __init__(self, origin: Origin, proxy: Proxy) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._origin = origin
        self._proxy = proxy
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_ANSWER)
        self._early_data: list[bytes] = []
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        host = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        target = f"{host}:{self._origin.port}".encode("ascii")
        headers = [(b"host", target)]
        if self._proxy.authorization:
            headers.append((b"proxy-authorization", self._proxy.authorization))
        head = self._h11.send(h11.Request(method=b"CONNECT", target=target, headers=headers)) or b""
        self.transport.write(head + (self._h11.send(h11.EndOfMessage()) or b""))

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            self._early_data.append(data)
            return
        try:
            self._h11.receive_data(data)
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            self._fail(f"answered CONNECT with something that is not HTTP: {error}")
            return
        if isinstance(event, h11.Response):
            if 200 <= event.status_code < 300:
                # A TLS server waits for the client's first message, so none of its bytes can follow the answer yet.
                self.opened.set_result(None)
            else:
                reason = event.reason.decode("latin-1")
                self._fail(f"refused to open a way to {self._origin}: {event.status_code} {reason}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connection.connection_lost(exc)
        else:
            self._fail("closed the connection")

    def _fail(self, what: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(ProxyFailed(f"{self._proxy!r} {what}", unprocessed=True))

    def hand_over(self, transport: asyncio.Transport, connection: Connection) -> Connection:
        """Gives the transport to the connection, after the TLS handshake with the origin."""
        transport.set_protocol(connection)
        self._connection = connection
        connection.connection_made(transport)
        for data in self._early_data:
            connection.data_received(data)
        return connection
