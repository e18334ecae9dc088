"""Open a connection to an origin: name, TCP, proxy, TLS, and the protocol that both sides agree on.

h2 and h11 are imported with the first connection that uses them: they take longer to import than the rest of the
package, and a program that has a pool may never dial.
"""

import asyncio
import os
import ssl
from typing import Any, cast

from transports.http2 import sockets
from transports.http2.connection import Connection, ConnectionOwner
from transports.http2.errors import ConnectFailed, ProxyFailed, TimedOut, TLSFailed
from transports.http2.options import PoolOptions
from transports.http2.proxies import Proxy, parse_proxy, proxy_for
from transports.http2.request import Origin
from transports.http2.tls import context_for, proxy_context


class Dialer:
    """Opens connections as the options say."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._proxy = parse_proxy(options.proxy) if options.proxy else None
        self._context: ssl.SSLContext | None = None

    def may_speak_http2(self, origin: Origin) -> bool:
        """Whether a connection could be HTTP/2. Plain HTTP is HTTP/1.1, except with prior knowledge."""
        if self._options.protocol == "auto":
            return origin.scheme == "https"
        return self._options.protocol == "h2"

    async def dial(self, pool: ConnectionOwner, within: float | None) -> Connection:
        """Opens a connection for the pool. `within`: seconds; None for no limit."""
        origin = pool.origin
        proxy = self._proxy_for(origin)
        try:
            async with asyncio.timeout(within) as limit:
                if proxy is not None:
                    return await self._dial_proxy(proxy, pool)
                chooser = ProtocolChooser(self, pool)
                try:
                    await self._connect(chooser, origin, tls=origin.scheme == "https")
                except BaseException:
                    chooser.give_up()
                    raise
                return chooser.chosen()
        except TimeoutError as error:
            if limit.expired():
                what = f"no connection to {origin} within {within:g} s"
                raise TimedOut(what, phase="connect", unprocessed=True) from None
            raise ConnectFailed(f"cannot connect to {origin}: {error}", unprocessed=True) from error
        except (ssl.SSLError, ssl.CertificateError) as error:
            raise TLSFailed(f"TLS with {origin} failed: {error}", unprocessed=True) from error
        except OSError as error:
            via = f" through {proxy!r}" if proxy is not None else ""
            raise ConnectFailed(f"cannot connect to {origin}{via}: {error}", unprocessed=True) from error

    def _proxy_for(self, origin: Origin) -> Proxy | None:
        if self._proxy is not None:
            return self._proxy
        if not self._options.trust_env or self._options.unix_socket:
            return None
        return proxy_for(origin, os.environ)

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = context_for(self._options)
        return self._context

    async def _connect(self, protocol: asyncio.Protocol, origin: Origin | Proxy, *, tls: bool) -> None:
        loop = asyncio.get_running_loop()
        options = self._options
        tls_options: dict[str, Any] = {}
        if tls:
            context = proxy_context(options) if isinstance(origin, Proxy) else self._tls_context()
            tls_options = {"ssl": context, "server_hostname": origin.host}
        if options.unix_socket:
            await loop.create_unix_connection(lambda: protocol, options.unix_socket, **tls_options)
            return
        sock = await sockets.connect(origin.host, origin.port, options.local_address)
        await loop.create_connection(lambda: protocol, sock=sock, **tls_options)  # the loop owns the socket now

    async def _dial_proxy(self, proxy: Proxy, pool: ConnectionOwner) -> Connection:
        origin = pool.origin
        loop = asyncio.get_running_loop()
        if origin.scheme == "http":
            if self._options.protocol == "h2":
                raise ProxyFailed("HTTP/2 with prior knowledge does not go through a proxy", unprocessed=True)
            from transports.http2.h1_connection import H1Connection

            plain = H1Connection(pool, loop, via_proxy=proxy.authorization)
            await self._connect(plain, proxy, tls=proxy.scheme == "https")
            return plain
        from transports.http2.tunnel import Tunnel

        tunnel = Tunnel(origin, proxy)
        await self._connect(tunnel, proxy, tls=proxy.scheme == "https")
        try:
            await tunnel.opened
            transport = await loop.start_tls(tunnel.transport, tunnel, self._tls_context(), server_hostname=origin.host)
        except BaseException:
            tunnel.transport.abort()
            raise
        if transport is None:
            raise ProxyFailed(
                f"{proxy!r} closed the connection during the TLS handshake with {origin}", unprocessed=True
            )
        return tunnel.hand_over(transport, self.protocol_for(transport, pool))

    def protocol_for(self, transport: asyncio.BaseTransport, pool: ConnectionOwner) -> Connection:
        """Returns a connection for the protocol that ALPN chose, or that the options name where there is no ALPN."""
        loop = asyncio.get_running_loop()
        tls = transport.get_extra_info("ssl_object")
        agreed = tls.selected_alpn_protocol() if tls is not None else None
        if self._options.protocol == "h2" and tls is not None and agreed != "h2":
            transport.close()
            raise TLSFailed(f"{pool.origin} does not speak HTTP/2 (ALPN: {agreed})", unprocessed=True)
        if agreed == "h2" or (tls is None and self._options.protocol == "h2"):
            from transports.http2.h2_connection import H2Connection

            return H2Connection(pool, loop)
        from transports.http2.h1_connection import H1Connection

        return H1Connection(pool, loop)


class ProtocolChooser(asyncio.Protocol):
    """Protocol of a transport until the handshake is done. It then passes the transport to the right connection."""

    def __init__(self, dialer: Dialer, pool: ConnectionOwner) -> None:
        self._dialer = dialer
        self._pool = pool
        self._outcome: Connection | Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            connection = self._dialer.protocol_for(transport, self._pool)
        except TLSFailed as error:
            self._outcome = error
            return
        cast("asyncio.Transport", transport).set_protocol(connection)
        connection.connection_made(transport)
        self._outcome = connection

    def give_up(self) -> None:
        """Closes a connection that was made at the moment of cancellation."""
        if isinstance(self._outcome, Connection) and self._outcome.transport is not None:
            self._outcome.closed = True
            self._outcome.transport.abort()

    def chosen(self) -> Connection:
        """Returns the connection, or raises the error of the handshake."""
        if isinstance(self._outcome, Connection):
            return self._outcome
        raise self._outcome or ConnectFailed(f"{self._pool.origin} closed the connection at once", unprocessed=True)
