"""Calls of the HTTP/2 transport beside httpx and aiohttp: 64 concurrent, over TLS and plain."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

from benchmarks._http2_server import Server, granian, installed
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async

CONCURRENT = 64
CALLS = 2_000
# Calls in a sample of slower subjects: fewer, so that samples take about as long as ours.
FEWER = {"httpx": 500, "transport behind httpx": 1_000}
BODY = b'{"model":"m","messages":[{"role":"user","content":"%s"}]}' % (b"hello " * 30)
HEADERS = {
    "authorization": "Bearer " + "k" * 35,
    "content-type": "application/json",
    "accept": "application/json",
    "user-agent": "benchmark/1",
}
TLS, PLAIN = "one call, 64 concurrent, TLS", "one call, 64 concurrent, plain HTTP/1.1"
Call = Callable[[], Awaitable[int]]


async def drive(call: Call, calls: int) -> float:
    """Makes `calls` calls; returns microseconds of wall time a call."""
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            assert await call() == 200

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(CONCURRENT)))
    return (time.perf_counter() - started) / calls * 1e6


async def measure(
    server: Server, tls: bool, context: Context, subjects: dict[str, Callable[..., Any]]
) -> dict[str, list[float]]:
    """Measures the subjects in turn."""
    async with AsyncExitStack() as stack:
        ready: dict[str, Callable[[], Awaitable[float]]] = {}
        for name, make in subjects.items():
            call = await make(stack, server.url + "/v1/chat/completions", server if tls else None)

            calls = FEWER.get(name, CALLS) // (4 if context.quick else 1)

            async def sample(call: Call = call, calls: int = calls) -> float:
                return await drive(call, calls)

            ready[name] = sample
        return await alternate_async(ready, rounds=context.rounds(5))


async def ours(stack: AsyncExitStack, url: str, server: Server | None) -> Call:
    """Calls over our transport."""
    from transports.http2 import Pool, PoolOptions, Request

    options = PoolOptions(ssl_context=server.ssl_context() if server else None, trust_env=False)
    pool = await stack.enter_async_context(Pool(options))
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

    async def call() -> int:
        reply = await pool.fetch(Request.to("POST", url, headers, BODY))
        return reply.status

    return call


async def ours_behind_httpx(stack: AsyncExitStack, url: str, server: Server | None) -> Call:
    """Calls through httpx over our transport."""
    import httpx

    from transports.http2 import HTTP2Transport

    transport = HTTP2Transport(verify=server.ssl_context() if server else True, trust_env=False)
    return _httpx_call(await stack.enter_async_context(httpx.AsyncClient(transport=transport)), url)


async def httpx_itself(stack: AsyncExitStack, url: str, server: Server | None) -> Call:
    """Calls through httpx."""
    import httpx

    client = httpx.AsyncClient(
        http2=server is not None,
        verify=server.ssl_context() if server else True,
        limits=httpx.Limits(max_connections=1_000, max_keepalive_connections=1_000),
    )
    return _httpx_call(await stack.enter_async_context(client), url)


def _httpx_call(client: Any, url: str) -> Call:
    async def call() -> int:
        return int((await client.post(url, content=BODY, headers=HEADERS)).status_code)

    return call


async def aiohttp_itself(stack: AsyncExitStack, url: str, server: Server | None) -> Call:
    """Calls through aiohttp."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=1_000, ssl=server.ssl_context() if server else True)
    session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))

    async def call() -> int:
        async with session.post(url, data=BODY, headers=HEADERS) as response:
            await response.read()
            return int(response.status)

    return call


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    if not installed("granian"):
        yield Missing(case=TLS, subject="granian", how_to_get="pip install granian")
        return
    subjects: dict[str, Callable[..., Any]] = {
        "transport": ours,
        "transport behind httpx": ours_behind_httpx,
        "httpx": httpx_itself,
    }
    if installed("aiohttp"):
        subjects["aiohttp"] = aiohttp_itself
    else:
        yield Missing(case=TLS, subject="aiohttp", how_to_get="pip install aiohttp")
    for case, tls in ((TLS, True), (PLAIN, False)):
        context.progress(case)
        with granian(tls=tls) as server:
            samples = asyncio.run(measure(server, tls, context, subjects))
        for subject, taken in samples.items():
            note = {"httpx": "http2=True" if tls else "", "aiohttp": "HTTP/1.1"}.get(subject, "")
            yield Row(case=case, subject=subject, unit="us", samples=taken, note=note)


BENCHMARK = Benchmark(
    summary="one call over the pooled HTTP/2 transport, beside httpx and aiohttp",
    run=run,
    targets=[
        Target(case=TLS, subject="transport", peer="httpx", at_most=0.15),
        Target(case=TLS, subject="transport behind httpx", peer="httpx", at_most=0.2),
        Target(case=TLS, subject="transport", peer="aiohttp", at_most=1.2),
        Target(case=PLAIN, subject="transport", peer="httpx", at_most=0.3),
    ],
    notes="Client and server share one machine: wall time a call, with the server's part in it. The server is granian "
    "with a constant answer; it is the same process for all subjects of a case.",
)
