"""Base of the transports for httpx and httpx2, two libraries with the same interface."""

import ssl
from typing import Any, ClassVar

from transports.http2.bridge import Bridge, options_for
from transports.http2.options import PoolOptions
from transports.http2.pool import Pool


class Adapter:
    """Transport of the client library over a pool of HTTP/2 and HTTP/1.1 connections.

    `verify`, `cert`, `proxy` and `trust_env` have the library's meaning; `options` are those of the pool. Responses
    have the library's extensions except `network_stream`. Names of headers arrive in lower case. A `trace` hook
    receives the events of `transports.http2.tracing`.
    """

    # A subclass sets its library, and its class for bodies.
    library: ClassVar[Any]
    body: ClassVar[Any]

    def __init__(
        self,
        options: PoolOptions | None = None,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        proxy: str | None = None,
        trust_env: bool = True,
    ) -> None:
        options = options_for(self.library, options, verify=verify, cert=cert, proxy=proxy, trust_env=trust_env)
        self._bridge = Bridge(self.library, self.body, options)

    @property
    def pool(self) -> Pool:
        """The pool, for its statistics."""
        return self._bridge.pool

    async def handle_async_request(self, request: Any) -> Any:
        """Sends a request of the library, and returns its response when the head has arrived. The library calls it."""
        return await self._bridge.handle(request)

    def handle_request(self, request: Any) -> Any:
        """Refuses the library's client for threads, which calls this, with an error that names the right one."""
        name = self.library.__name__
        raise TypeError(
            f"{type(self).__name__} is asynchronous: pass it to {name}.AsyncClient. "
            f"For code without an event loop {name}.Client has a transport of its own; leave out `transport=`"
        )

    def __enter__(self) -> Any:
        """Refuses the library's client for threads, as `handle_request` does."""
        self.handle_request(None)

    async def aclose(self) -> None:
        """Closes the pool and its connections."""
        await self._bridge.pool.aclose()
