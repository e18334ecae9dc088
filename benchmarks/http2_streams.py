"""Many HTTP/2 streams at once: with a wait of one second, with a hundred events, cancelled, abandoned."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psutil

from benchmarks._http2_app import EVENT, EVENTS
from benchmarks._http2_server import Server, granian, hypercorn, installed
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from three_mode.testing import Answer, Fault, ScriptedProvider, Turn
from transports.http2 import Pool, PoolOptions, Request

WAITS = "250 calls of one second, 100 streams a connection"
STREAMS = "1,000 streams of 100 events"
CANCEL = "from cancel to RST_STREAM at the server"
SIBLINGS = "siblings that a cancel disturbed"
ABANDONED = "10,000 streams abandoned half-way"
MEMORY = "memory grown by 10,000 abandoned streams"


@asynccontextmanager
async def our_pool(server: Server) -> AsyncIterator[Pool]:
    """Opens a pool of our transport."""
    async with Pool(PoolOptions(ssl_context=server.ssl_context(), trust_env=False)) as pool:
        yield pool


def httpx_client(server: Server) -> Any:
    """Client of httpx."""
    import httpx

    limits = httpx.Limits(max_connections=1_000, max_keepalive_connections=1_000)
    return httpx.AsyncClient(http2=True, verify=server.ssl_context(), limits=limits, timeout=None)  # noqa: S113


# --- 250 calls of one second ---


async def waits(server: Server, context: Context) -> dict[str, list[float]]:
    """Seconds of 250 calls at once."""
    async with our_pool(server) as pool:
        url = server.url + "/second"

        async def ours() -> float:
            started = time.perf_counter()
            replies = await asyncio.gather(*(pool.fetch(Request.to("GET", url)) for _ in range(250)))
            assert {reply.status for reply in replies} == {200}
            return time.perf_counter() - started

        async def theirs() -> float:
            # A new client each round: hypercorn retires a connection after 1,000 requests with GOAWAY, and httpx then
            # fails its calls in progress.
            async with httpx_client(server) as client:
                started = time.perf_counter()
                replies = await asyncio.gather(*(client.get(url) for _ in range(250)))
                assert {reply.status_code for reply in replies} == {200}
                return time.perf_counter() - started

        return await alternate_async({"transport": ours, "httpx": theirs}, rounds=context.rounds(3))


# --- a thousand streams of a hundred events ---


async def events(server: Server, context: Context) -> dict[str, list[float]]:
    """Events a second of many streams at once."""
    streams = 200 if context.quick else 1_000
    size = len(EVENT) * EVENTS
    async with our_pool(server) as pool, httpx_client(server) as client:
        url = server.url + "/events"

        async def our_stream() -> None:
            received = 0
            async with pool.request(Request.to("GET", url)) as response:
                async for data in response.body:
                    received += len(data)
            assert received == size

        async def their_stream() -> None:
            received = 0
            async with client.stream("GET", url) as response:
                async for data in response.aiter_raw():
                    received += len(data)
            assert received == size

        async def rate(stream: Any, count: int) -> float:
            started = time.perf_counter()
            await asyncio.gather(*(stream() for _ in range(count)))
            return count * EVENTS / (time.perf_counter() - started)

        works = {"transport": our_stream, "httpx": their_stream}
        for work in works.values():
            await rate(work, streams // 10)  # enough to warm up; all of them would take a quarter of the time
        return await alternate_async(
            {name: partial(rate, work, streams) for name, work in works.items()},
            rounds=context.rounds(3),
            warm_up=0,
        )


# --- cancels: the scripted provider notes their time, on the same loop and clock ---


async def cancels(context: Context) -> tuple[list[float], int]:
    """Milliseconds from each cancel to its RST_STREAM, and disturbed siblings."""
    body = b'{"stream":true}'
    delays: list[float] = []
    disturbed = 0
    loop = asyncio.get_running_loop()
    async with ScriptedProvider("h2") as provider:
        options = PoolOptions(ssl_context=provider.ssl_context(), trust_env=False)
        async with Pool(options) as pool:
            request = Request.to("POST", provider.url + "/v1/chat/completions", (), body)
            for _ in range(context.rounds(100)):
                provider.seen.clear()
                provider.next(Turn(), fault=Fault(stall_after=1))
                provider.always(Turn(text=("x",) * 5), fault=Fault(pause=0.001))
                victim = asyncio.create_task(pool.fetch(request))
                await provider.until(lambda provider: bool(provider.seen))
                siblings = [asyncio.create_task(pool.fetch(request)) for _ in range(20)]
                await provider.until(lambda provider: len(provider.seen) == 21)
                left = loop.time()
                victim.cancel()
                outcomes = await asyncio.gather(*siblings, return_exceptions=True)
                disturbed += sum(isinstance(outcome, BaseException) for outcome in outcomes)
                await provider.until(lambda provider: provider.seen[0].cancelled)
                seen_at = provider.seen[0].cancelled_at
                assert seen_at is not None
                assert provider.seen[0].reset_code == 0x8
                delays.append((seen_at - left) * 1e3)
        disturbed += provider.accepted - 1
    return delays, disturbed


# --- abandoned streams ---


async def abandoned(context: Context) -> tuple[float, float]:
    """Seconds of the last tenth over seconds of the first, and megabytes of growth in between."""
    count = 1_000 if context.quick else 10_000
    tenth = count // 10
    async with ScriptedProvider("h2") as provider:
        provider.always(Answer(pieces=(b"z" * 8_192,) * 8, streamed=True))
        options = PoolOptions(ssl_context=provider.ssl_context(), trust_env=False)
        async with Pool(options) as pool:
            request = Request.to("POST", provider.url + "/v1/chat/completions", (), b"{}")
            turns = asyncio.Semaphore(50)

            async def abandon() -> None:
                async with turns, pool.request(request) as response:
                    async for _ in response.body:
                        break

            async def abandon_a_tenth() -> float:
                started = time.perf_counter()
                await asyncio.gather(*(abandon() for _ in range(tenth)))
                provider.seen.clear()
                return time.perf_counter() - started

            await abandon_a_tenth()
            gc.collect()
            before = psutil.Process().memory_info().rss
            times = [await abandon_a_tenth() for _ in range(10)]
            gc.collect()
            grown = (psutil.Process().memory_info().rss - before) / 1e6
            assert provider.accepted == 1
    return times[-1] / times[0], grown


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    context.progress(CANCEL)
    delays, disturbed = asyncio.run(cancels(context))
    yield Row(case=CANCEL, subject="transport", unit="ms", samples=delays, note="httpx sends none")
    yield Row(case=SIBLINGS, subject="transport", unit="calls", samples=[disturbed])
    context.progress(ABANDONED)
    growth, megabytes = asyncio.run(abandoned(context))
    yield Row(case=ABANDONED, subject="transport", unit="last tenth / first tenth", samples=[growth])
    yield Row(case=MEMORY, subject="transport", unit="MB", samples=[megabytes])
    if not installed("hypercorn", "granian"):
        yield Missing(case=WAITS, subject="hypercorn", how_to_get="pip install hypercorn granian")
        return
    context.progress(WAITS)
    with hypercorn() as server:
        samples = asyncio.run(waits(server, context))
    for subject, taken in samples.items():
        yield Row(case=WAITS, subject=subject, unit="s", samples=taken)
    context.progress(STREAMS)
    with granian(tls=True) as server:
        samples = asyncio.run(events(server, context))
    for subject, taken in samples.items():
        yield Row(case=STREAMS, subject=subject, unit="events/s", samples=taken, higher_is_better=True)


BENCHMARK = Benchmark(
    summary="many HTTP/2 streams at once: waiting, streaming, cancelled, abandoned",
    run=run,
    targets=[
        Target(case=WAITS, subject="transport", at_most=1.3),
        Target(case=STREAMS, subject="transport", peer="httpx", at_least=4.0),
        Target(case=CANCEL, subject="transport", at_most=10.0),
        Target(case=SIBLINGS, subject="transport", at_most=0),
        Target(case=ABANDONED, subject="transport", at_most=2.0),
        Target(case=MEMORY, subject="transport", at_most=20.0),
    ],
    notes="Waits run against hypercorn, which allows 100 streams a connection; events against granian. Cancels and "
    "abandoned streams run against the scripted provider, in the same process, because it notes the time of each.",
)
