"""Pool: the public entry. It takes requests, returns responses, and keeps connections in between."""

import asyncio
from types import TracebackType
from typing import Self

from transports.http2.deadlines import NEVER, DeadlineTimer
from transports.http2.dial import Dialer
from transports.http2.errors import InvalidRequest, PoolClosed
from transports.http2.exchange import Exchange
from transports.http2.options import PoolOptions
from transports.http2.origin_pool import OriginPool
from transports.http2.request import Origin, Request, Timeouts, split_url
from transports.http2.response import Call, Reply
from transports.http2.statistics import OriginStatistics
from transports.http2.tracing import Trace, log_errors

DEFAULT_TIMEOUTS = Timeouts()
DEFAULT_MAX_BYTES = 64 * 1024 * 1024
MAINTAIN_AT_MOST_EVERY, MAINTAIN_AT_LEAST_EVERY = 0.02, 5.0


class Pool:
    """Connections to any number of origins, kept for reuse. Belongs to one event loop.

    `trace` is called with a name and a mapping for each event; see `transports.http2.tracing`.
    """

    def __init__(self, options: PoolOptions | None = None, *, trace: Trace | None = None) -> None:
        self.options = options or PoolOptions()
        self._trace = None if trace is None else log_errors(trace)
        self._dialer = Dialer(self.options)
        self._origins: dict[Origin, OriginPool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: DeadlineTimer | None = None
        self._maintenance: asyncio.TimerHandle | None = None
        self._closed: PoolClosed | None = None
        options = self.options
        soonest = min(options.ping_every, options.ping_within, options.idle_after, options.retire_after)
        self._maintain_every = max(MAINTAIN_AT_MOST_EVERY, min(soonest / 4, MAINTAIN_AT_LEAST_EVERY))

    def __repr__(self) -> str:
        return f"<Pool of {len(self._origins)} origins>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def request(
        self,
        request: Request,
        *,
        timeouts: Timeouts | None = None,
        until: float = NEVER,
        trace: Trace | None = None,
    ) -> Call:
        """Prepares a call with a streamed response: `async with pool.request(...) as response`.

        `until` is a deadline for all of it, in the loop's time.
        """
        return Call(self._until(self._exchange(request, timeouts, trace), until))

    async def fetch(
        self,
        request: Request,
        *,
        timeouts: Timeouts | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        until: float = NEVER,
        trace: Trace | None = None,
    ) -> Reply:
        """Sends a request and returns the whole response; the caller's task wakes once, when it is complete.

        `max_bytes` bounds the body (default 64 MiB). `until` is a deadline for all of it, in the loop's time.
        """
        exchange = self.send(request, timeouts=timeouts, max_bytes=max_bytes, until=until, trace=trace)
        try:
            content = await exchange.whole()
        except BaseException:
            exchange.cancel()
            raise
        headers = list(exchange.headers)
        return Reply(exchange.status, headers, content, exchange.http_version, exchange.trailers)

    def send(
        self,
        request: Request,
        *,
        timeouts: Timeouts | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        until: float = NEVER,
        trace: Trace | None = None,
    ) -> Exchange:
        """Sends a request now, for a whole response: the first half of `fetch`.

        The second half is `whole()` of the returned exchange, awaited in any task, or `cancel()`.
        """
        exchange = self._exchange(request, timeouts, trace)
        exchange.whole_body = True
        exchange.max_bytes = max_bytes
        exchange.pool.submit(self._until(exchange, until))
        return exchange

    @staticmethod
    def _until(exchange: Exchange, until: float) -> Exchange:
        if until != NEVER:
            exchange.until = until
            exchange.pool.timer.heed(until)
        return exchange

    async def warm(self, url: str, *, within: float | None = 10.0) -> None:
        """Opens a connection ahead of the first call. `within`: seconds (default 10), None for no limit."""
        origin, _ = split_url(url)
        await self._origin_pool(origin).warm(within)

    def statistics(self) -> dict[Origin, OriginStatistics]:
        """Counters of each origin, now."""
        return {origin: pool.snapshot() for origin, pool in self._origins.items()}

    async def aclose(self) -> None:
        """Closes all connections; calls in progress fail with PoolClosed."""
        self._closed = PoolClosed("the pool is closed")
        if self._maintenance is not None:
            self._maintenance.cancel()
            self._maintenance = None
        if self._loop is asyncio.get_running_loop():
            await asyncio.gather(*(pool.close(self._closed) for pool in self._origins.values()))
            await asyncio.sleep(0)  # an aborted transport closes in the loop's next turn
        if self._timer is not None:
            self._timer.close()

    def _exchange(self, request: Request, timeouts: Timeouts | None, trace: Trace | None) -> Exchange:
        pool = self._origin_pool(request.origin)
        return Exchange(
            pool, request, timeouts or DEFAULT_TIMEOUTS, self._trace if trace is None else log_errors(trace)
        )

    def _origin_pool(self, origin: Origin) -> OriginPool:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise InvalidRequest("the pool needs a running asyncio loop (uvloop is one, trio is not)") from None
        if loop is not self._loop:
            self._bind_to_loop(loop)
        pool = self._origins.get(origin)
        if pool is None:
            assert self._timer is not None
            if self._closed is not None:
                raise self._closed.copy()
            pool = OriginPool(origin, self.options, self._dialer, self._timer, self._trace)
            self._origins[origin] = pool
        return pool

    def _bind_to_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not None and not self._loop.is_closed():
            raise PoolClosed("this pool belongs to another event loop that still runs; make one pool a loop")
        # The former loop is closed, and its connections with it.
        self._origins.clear()
        self._loop = loop
        self._timer = DeadlineTimer(loop)
        if self._closed is None:
            self._maintenance = loop.call_later(self._maintain_every, self._maintain)

    def _maintain(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for pool in list(self._origins.values()):
            pool.maintain(now)
        self._maintenance = self._loop.call_later(self._maintain_every, self._maintain)
