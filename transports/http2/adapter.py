"""What the transports for httpx and for httpx2 are: the two libraries differ in their module, and in nothing that is used here."""

import ssl
from typing import Any, ClassVar

from transports.http2.bridge import Bridge, options_for
from transports.http2.options import PoolOptions
from transports.http2.pool import Pool


class Adapter:
    """HTTP/2 with HTTP/1.1 beside it. `verify`, `cert`, `proxy` and `trust_env` mean what they mean to the library."""

    # A subclass names its library, and its class for bodies.
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
        """For statistics."""
        return self._bridge.pool

    async def handle_async_request(self, request: Any) -> Any:
        return await self._bridge.handle(request)

    async def aclose(self) -> None:
        await self._bridge.pool.aclose()
