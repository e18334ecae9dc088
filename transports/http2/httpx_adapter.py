"""The pool as a transport for httpx: `httpx.AsyncClient(transport=HTTP2Transport())`."""

import ssl
from typing import Any

import httpx

from transports.http2.bridge import Bridge, ResponseBytes, options_for
from transports.http2.options import PoolOptions
from transports.http2.pool import Pool


class _Stream(ResponseBytes, httpx.AsyncByteStream):
    pass


class HTTP2Transport(httpx.AsyncBaseTransport):
    """HTTP/2 with HTTP/1.1 beside it. `verify`, `cert`, `proxy` and `trust_env` mean what they mean to httpx."""

    def __init__(
        self,
        options: PoolOptions | None = None,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        proxy: str | None = None,
        trust_env: bool = True,
    ) -> None:
        options = options_for(httpx, options, verify=verify, cert=cert, proxy=proxy, trust_env=trust_env)
        self._bridge = Bridge(httpx, _Stream, options)

    @property
    def pool(self) -> Pool:
        """For statistics."""
        return self._bridge.pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response: httpx.Response = await self._bridge.handle(request)
        return response

    async def aclose(self) -> None:
        await self._bridge.pool.aclose()
