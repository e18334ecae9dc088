"""The pool as a transport for httpx2: `httpx2.AsyncClient(transport=HTTPX2Transport())`.

The official SDKs of OpenAI and Anthropic are built on httpx2. It is an extra: `pip install three-mode[httpx2]`.
"""

import ssl
from typing import Any

try:
    import httpx2
except ImportError:
    raise ImportError("HTTPX2Transport needs httpx2: pip install 'three-mode[httpx2]'") from None

from transports.http2.bridge import Bridge, ResponseBytes, options_for
from transports.http2.options import PoolOptions
from transports.http2.pool import Pool


class _Stream(ResponseBytes, httpx2.AsyncByteStream):
    pass


class HTTPX2Transport(httpx2.AsyncBaseTransport):
    """HTTP/2 with HTTP/1.1 beside it. `verify`, `cert`, `proxy` and `trust_env` mean what they mean to httpx2."""

    def __init__(
        self,
        options: PoolOptions | None = None,
        *,
        verify: ssl.SSLContext | str | bool = True,
        cert: Any = None,
        proxy: str | None = None,
        trust_env: bool = True,
    ) -> None:
        options = options_for(httpx2, options, verify=verify, cert=cert, proxy=proxy, trust_env=trust_env)
        self._bridge = Bridge(httpx2, _Stream, options)

    @property
    def pool(self) -> Pool:
        """For statistics."""
        return self._bridge.pool

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response: httpx2.Response = await self._bridge.handle(request)
        return response

    async def aclose(self) -> None:
        await self._bridge.pool.aclose()
